"""The messages between the daemon and the embedding worker."""

from __future__ import annotations

from typing import Final

import msgspec

from monitor.probes.framing import Dialogue, Failure


class Open(msgspec.Struct, tag="open", frozen=True, kw_only=True):
    """Load a model, or find it at ``url``; the first request to a worker."""

    model: str
    dtype: str
    batch_tokens: int
    threads: int
    url: str = ""
    key: str = ""


class Embed(msgspec.Struct, tag="embed", frozen=True, kw_only=True):
    """Turn texts into unit vectors, in order."""

    texts: list[str]


class Search(msgspec.Struct, tag="search", frozen=True, kw_only=True):
    """Find the nearest rows of an index file for unit vectors, float32, row-major.

    The file holds float16 unit vectors ``(rows, dimension)`` from ``offset`` on.
    """

    path: str
    offset: int
    rows: int
    dimension: int
    queries: bytes


class Opened(msgspec.Struct, tag="opened", frozen=True, kw_only=True):
    """The model is loaded; ``encoder`` identifies its weights and arithmetic exactly."""

    encoder: str
    dimension: int


class Vectors(msgspec.Struct, tag="vectors", frozen=True, kw_only=True):
    """Unit vectors ``(count, dimension)``, float16, row-major."""

    count: int
    dimension: int
    body: bytes


class NearestRows(msgspec.Struct, tag="found", frozen=True, kw_only=True):
    """Cosine (float32) and row (int64) of each query's nearest example."""

    similarity: bytes
    row: bytes


Request = Open | Embed | Search
Reply = Opened | Vectors | NearestRows | Failure

REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)

EMBEDDING: Final = Dialogue(
    module="monitor.probes.worker",
    opened=Opened,
    replies=msgspec.msgpack.Decoder(Reply),
)
