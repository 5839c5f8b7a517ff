"""Embeddings of texts, from a model in a process of its own."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from importlib.util import find_spec
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import structlog

from detectors.nearest import Nearest, nearest
from monitor.probes import protocol
from monitor.probes.client import WorkerProcess
from monitor.probes.errors import ProbeError, ProbeFailed

TEXTS_PER_REQUEST: Final = 512
"""Enough texts to sort by length, few enough that live texts can pass a long build."""

LARGE_SEARCH: Final = 4_000_000
"""The search size (examples times queries) from which the worker is asked: 20 ms here."""

_LOG = structlog.get_logger(__name__)

Vectors = npt.NDArray[np.float32]


class Dtype(StrEnum):
    """The encoder's arithmetic; part of its identity."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSettings:
    """The settings of embeddings.

    model
        Hub name (``name@revision`` pins it), folder, or ``package:NAME`` of an installed
        package that carries a sentence-transformers model. With a ``url``, the name that the
        endpoint knows it by, and the revision that the operator states for it.
    url, api_key
        An OpenAI-compatible endpoint, up to ``/v1``, that embeds in place of this machine.
    batch_tokens
        Padded tokens per batch.
    dtype
        ``auto`` takes bfloat16 if the CPU supports it. Daemons on different CPUs that share
        references must name one: vectors of different arithmetic are refused.
    threads
        CPU threads of the worker.
    cache_entries
        The number of texts whose vectors are cached in memory (about 1 KB each).
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    url: str = ""
    api_key: str = field(default="", repr=False)
    batch_tokens: int = 2048
    dtype: Dtype = Dtype.AUTO
    threads: int = 1
    cache_entries: int = 8192
    request_timeout: timedelta = timedelta(minutes=2)
    start_timeout: timedelta = timedelta(minutes=3)


class Embedder(Protocol):
    """Turns texts into unit vectors, and identifies its encoder exactly."""

    @property
    def encoder(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> Vectors: ...


@runtime_checkable
class Searcher(Protocol):
    """Finds nearest training examples faster than the daemon itself."""

    def nearest(
        self, index: npt.NDArray[np.float16], queries: npt.NDArray[np.floating]
    ) -> Nearest: ...


class EmbeddingClient:
    """The embedding probe: thread-safe, lazy, cached by content.

    The worker starts at the first call (seconds) and holds its model in its own memory. The same
    text gets the same vector while it is cached; computing it in another batch may change a cosine
    by about 1e-3 in bfloat16.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._worker = WorkerProcess(
            protocol.Open(
                model=settings.model,
                dtype=settings.dtype.value,
                batch_tokens=settings.batch_tokens,
                threads=settings.threads,
                url=settings.url,
                key=settings.api_key,
            ),
            protocol.EMBEDDING,
            start_timeout=settings.start_timeout.total_seconds(),
        )
        self._cache = _Cache(settings.cache_entries)
        self._searches = find_spec("torch") is not None

    @property
    def encoder(self) -> str:
        """``name@content/arithmetic``, the identity that references are bound to."""
        return self._worker.opened().encoder

    @property
    def pid(self) -> int | None:
        """The worker's process; None while none runs."""
        return self._worker.pid

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors ``(n, d)``, float32 with float16 precision, in order.

        Raises
        ------
        ProbeFailed, ProbeTimeout, ModelMissing
            Nothing was lost; the caller keeps the texts and tries again later.
        """
        # a lone surrogate is not text: it cannot be sent, and no tokenizer knows it
        texts = [text.encode("utf-8", "replace").decode() for text in texts]
        keys = [_key(text) for text in texts]
        known = self._cache.get(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        waiting = list(missing.items())
        for begin in range(0, len(waiting), TEXTS_PER_REQUEST):
            part = dict(waiting[begin : begin + TEXTS_PER_REQUEST])
            fresh = dict(zip(part, self._compute(list(part.values())), strict=True))
            self._cache.put(fresh)
            known |= fresh
        if not keys:
            return np.empty((0, self._worker.opened().dimension), dtype=np.float32)
        return np.stack([known[key] for key in keys]).astype(np.float32)

    def nearest(self, index: npt.NDArray[np.float16], queries: npt.NDArray[np.floating]) -> Nearest:
        """Find each query's nearest example; see :func:`detectors.nearest.nearest`.

        A large search of a memory-mapped index runs in the worker, at least twice as fast if the
        CPU multiplies bfloat16; a small search, or one while the worker is down or without torch,
        runs here. The result is the same.
        """
        is_small = index.shape[0] * len(queries) < LARGE_SEARCH
        if not isinstance(index, np.memmap) or is_small or not self._searches:
            return nearest(index, queries)
        try:
            return self._search(index, queries)
        except ProbeError as error:
            _LOG.warning("search_in_daemon", error=str(error))
            return nearest(index, queries)

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _search(self, index: np.memmap[Any, Any], queries: npt.NDArray[np.floating]) -> Nearest:
        request = protocol.Search(
            path=str(index.filename),
            offset=index.offset,
            rows=index.shape[0],
            dimension=index.shape[1],
            queries=np.ascontiguousarray(queries, dtype="<f4").tobytes(),
        )
        timeout = self._settings.request_timeout.total_seconds()
        reply = self._worker.ask(request, timeout=timeout)
        if not isinstance(reply, protocol.NearestRows):
            raise ProbeFailed("the worker answered out of turn", permanent=False)
        return Nearest(
            similarity=np.frombuffer(reply.similarity, dtype=np.float32),
            row=np.frombuffer(reply.row, dtype=np.int64),
        )

    def _compute(self, texts: list[str]) -> npt.NDArray[np.float16]:
        timeout = self._settings.request_timeout.total_seconds()
        reply = self._worker.ask(protocol.Embed(texts=texts), timeout=timeout)
        if not isinstance(reply, protocol.Vectors) or reply.count != len(texts):
            raise ProbeFailed("the worker answered out of turn", permanent=False)
        vectors = np.frombuffer(reply.body, dtype=np.float16)
        return vectors.reshape(reply.count, reply.dimension)


class _Cache:
    """The newest vectors by content hash; it stores no text."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, npt.NDArray[np.float16]] = OrderedDict()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, npt.NDArray[np.float16]]:
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
            return found

    def put(self, fresh: dict[bytes, npt.NDArray[np.float16]]) -> None:
        with self._lock:
            for key, vector in fresh.items():
                # a copy: a row would keep its whole batch in memory
                self._vectors[key] = vector.copy()
            while len(self._vectors) > self._entries:
                self._vectors.popitem(last=False)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
