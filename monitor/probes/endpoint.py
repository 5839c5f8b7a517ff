"""Embed by an OpenAI-compatible ``/v1/embeddings``: an engine that is made for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx2
import numpy as np
import numpy.typing as npt

from monitor.probes.errors import ModelMissing, ProbeFailed

BATCH: Final = 32
"""Texts of one request; text-embeddings-inference takes no more by default."""

_LONGEST: Final = 8_192
"""Characters of a text; engines cut or refuse what is over their model's context."""
_SHORTEST: Final = 64
_TIMEOUT: Final = 60.0
_TOO_LONG: Final = frozenset({400, 413, 422})
_UNKNOWN: Final = frozenset({401, 403, 404})


class EndpointEncoder:
    """A text encoder behind HTTP, with the methods of the local one.

    An endpoint does not show its weights, so ``name@revision`` is what the operator says of them:
    another model under the same name must get another revision, or references would be compared
    with vectors of another space.
    """

    def __init__(self, url: str, model: str, *, key: str) -> None:
        self._url = f"{url.rstrip('/')}/embeddings"
        self._model, _, revision = model.partition("@")
        # no proxy of the environment: engines are inside; and no redirect is followed with the key
        self._http = httpx2.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=_TIMEOUT,
            trust_env=False,
        )
        self.dimension = int(self.embed(["."]).shape[1])
        self.name = f"{self._model}@{revision or 'unpinned'}/endpoint-{self.dimension}"

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float16]:
        """Return unit vectors ``(n, d)`` in the order of the texts."""
        parts = [
            self._part([text[:_LONGEST] for text in texts[begin : begin + BATCH]])
            for begin in range(0, len(texts), BATCH)
        ]
        return np.concatenate(parts)

    def _part(self, texts: list[str]) -> npt.NDArray[np.float16]:
        """Embed a batch; if it is refused, each alone, and cut until it is short enough."""
        try:
            return self._asked(texts)
        except _TextsRefused as error:
            longest = max(map(len, texts))
            if len(texts) > 1:
                return np.concatenate([self._part([text]) for text in texts])
            if longest <= _SHORTEST:
                raise ProbeFailed(str(error), permanent=False) from error
            return self._part([texts[0][: longest // 2]])

    def _asked(self, texts: list[str]) -> npt.NDArray[np.float16]:
        body = {"model": self._model, "input": [text or " " for text in texts]}
        try:
            reply = self._http.post(self._url, json=body | {"encoding_format": "float"})
            if reply.is_success:
                return _vectors(reply.json(), len(texts))
        except (httpx2.HTTPError, ValueError, LookupError, TypeError) as error:
            raise ProbeFailed(
                f"the endpoint gave no answer: {type(error).__name__}", permanent=False
            ) from None
        raise self._refusal(reply.status_code)

    def _refusal(self, status: int) -> Exception:
        if status in _UNKNOWN:
            return ModelMissing(self._model, f"the endpoint answered HTTP {status}")
        if status in _TOO_LONG:
            return _TextsRefused(f"the endpoint answered HTTP {status}")
        return ProbeFailed(f"the endpoint answered HTTP {status}", permanent=False)


class _TextsRefused(Exception):  # noqa: N818 (perhaps one of them is too long)
    """The endpoint does not take these texts."""


def _vectors(reply: Any, count: int) -> npt.NDArray[np.float16]:
    rows = sorted(reply["data"], key=lambda row: int(row["index"]))
    vectors = np.array([row["embedding"] for row in rows], dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != count:  # noqa: PLR2004 (rows and columns)
        raise ValueError("vectors of another number")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ValueError("a vector that has no direction")
    unit: npt.NDArray[np.float16] = (vectors / lengths).astype(np.float16)
    return unit
