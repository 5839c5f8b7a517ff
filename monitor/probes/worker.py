"""The process with an embedding model: ``python -m monitor.probes.worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import numpy as np

from monitor.loading import loading, set_apart
from monitor.probes import protocol
from monitor.probes.endpoint import EndpointEncoder
from monitor.probes.errors import models_here
from monitor.probes.models import resolve
from monitor.probes.pipes import serve

if TYPE_CHECKING:
    from monitor.probes.encoder import Encoder


def main() -> None:
    """Serve requests until the daemon closes the pipe."""
    serve(protocol.REQUESTS, _Answerer())


class _Answerer:
    """One model and the requests it can answer."""

    def __init__(self) -> None:
        self._encoder: Encoder | EndpointEncoder | None = None

    def __call__(self, request: protocol.Request) -> protocol.Reply:
        match request:
            case protocol.Open():
                return self._open(request)
            case protocol.Embed():
                return self._embed(request)
            case protocol.Search():
                return _search(request)
            case _:
                assert_never(request)

    def _open(self, request: protocol.Open) -> protocol.Opened:
        encoder = _remote(request) if request.url else _local(request)
        self._encoder = encoder
        return protocol.Opened(encoder=encoder.name, dimension=encoder.dimension)

    def _embed(self, request: protocol.Embed) -> protocol.Vectors:
        if self._encoder is None:
            raise RuntimeError("no model was opened")
        vectors = self._encoder.embed(request.texts)
        count, dimension = vectors.shape
        return protocol.Vectors(count=count, dimension=dimension, body=vectors.tobytes())


def _remote(request: protocol.Open) -> Encoder | EndpointEncoder:
    return EndpointEncoder(request.url, request.model, key=request.key)


def _local(request: protocol.Open) -> Encoder:
    # before torch is loaded: a wrong name is reported at once
    with models_here(request.model):
        folder = resolve(request.model)
        with loading():
            from monitor.probes.encoder import Encoder  # noqa: PLC0415 - loads torch
    set_apart()

    return Encoder(
        folder,
        dtype=request.dtype,
        batch_tokens=request.batch_tokens,
        threads=request.threads,
    )


def _search(request: protocol.Search) -> protocol.NearestRows:
    from monitor.probes.search import nearest  # noqa: PLC0415 - loads torch

    shape = (request.rows, request.dimension)
    index = np.memmap(request.path, dtype="<f2", mode="r", offset=request.offset, shape=shape)
    queries = np.frombuffer(request.queries, dtype="<f4").reshape(-1, request.dimension)
    found = nearest(index, queries)
    return protocol.NearestRows(similarity=found.similarity.tobytes(), row=found.row.tobytes())


if __name__ == "__main__":
    main()
