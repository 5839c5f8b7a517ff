"""The process that holds a model: ``python -m monitor.probes.worker``.

It answers framed requests on its standard input and ends when that closes, which the
kernel does the moment the daemon dies; so it never outlives the daemon. (A parent-death
signal would be wrong here: it fires when the *thread* that started the worker ends.)
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from pathlib import Path
from typing import BinaryIO, assert_never

import numpy as np

from monitor.probes import protocol
from monitor.probes.errors import ModelMissing, place_of
from monitor.probes.models import resolve


def main() -> None:
    """Serve requests until the daemon closes the pipe."""
    requests, replies = _claim_pipes()
    _offer_to_memory_pressure()
    arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, arrived), daemon=True).start()
    answer = _Answerer()
    while True:
        reply = answer(protocol.request(arrived.get()))
        replies.write(protocol.frame(reply))
        replies.flush()


class _Answerer:
    """One model and the requests it can answer."""

    def __init__(self) -> None:
        self._encoder: object = None

    def __call__(self, request: protocol.Request) -> protocol.Reply:
        try:
            match request:
                case protocol.Open():
                    return self._open(request)
                case protocol.Embed():
                    return self._embed(request)
                case protocol.Search():
                    return _search(request)
                case _:
                    assert_never(request)
        except ModelMissing as error:
            return protocol.Failure(reason=error.reason, missing=True, permanent=True)
        except Exception as error:  # noqa: BLE001 - one request of the loop; the reply tells
            return protocol.Failure(reason=place_of(error), missing=False, permanent=False)

    def _open(self, request: protocol.Open) -> protocol.Opened:
        # before torch is loaded: a wrong name is told in a moment
        folder = resolve(request.model)
        from monitor.probes.encoder import Encoder  # noqa: PLC0415 - loads torch

        self._encoder = encoder = Encoder(
            folder,
            dtype=request.dtype,
            batch_tokens=request.batch_tokens,
            threads=request.threads,
        )
        return protocol.Opened(encoder=encoder.name, dimension=encoder.dimension)

    def _embed(self, request: protocol.Embed) -> protocol.Vectors:
        from monitor.probes.encoder import Encoder  # noqa: PLC0415 - loads torch

        if not isinstance(self._encoder, Encoder):
            raise RuntimeError("no model was opened")  # noqa: TRY004 - a protocol fault
        vectors = self._encoder.embed(request.texts)
        count, dimension = vectors.shape
        return protocol.Vectors(count=count, dimension=dimension, body=vectors.tobytes())


def _search(request: protocol.Search) -> protocol.Found:
    from monitor.probes.search import nearest  # noqa: PLC0415 - loads torch

    shape = (request.rows, request.dimension)
    index = np.memmap(request.path, dtype="<f2", mode="r", offset=request.offset, shape=shape)
    queries = np.frombuffer(request.queries, dtype="<f4").reshape(-1, request.dimension)
    found = nearest(index, queries)
    return protocol.Found(similarity=found.similarity.tobytes(), row=found.row.tobytes())


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for frames: a library that prints must not break the stream."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    return requests, replies


def _receive(requests: BinaryIO, arrived: queue.SimpleQueue[bytes]) -> None:
    while True:
        head = requests.read(protocol.LENGTH_BYTES)
        if len(head) < protocol.LENGTH_BYTES:
            # the daemon is gone or has let go; nobody waits for a computation under way
            os._exit(0)
        arrived.put(requests.read(protocol.body_length(head)))


def _offer_to_memory_pressure() -> None:
    # where memory runs out this process is the one to lose: the daemon restarts it
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


if __name__ == "__main__":
    main()
