"""The messages between the daemon and the worker of local models."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from detectors.parity import Parity
from monitor.probes.framing import Dialogue, Failure


class OpenBase(msgspec.Struct, tag="open", frozen=True, kw_only=True):
    """Load a base model; the first request to a worker."""

    model: str
    dtype: str
    device: str
    batch_tokens: int
    loaded_adapters: int
    threads: int


class Base(msgspec.Struct, tag="base", frozen=True):
    """The base model itself."""


class HashedAdapter(msgspec.Struct, tag="adapter", frozen=True, kw_only=True):
    """An adapter on the base, identified by its folder's hash."""

    folder: str
    weights: str


class Whole(msgspec.Struct, tag="whole", frozen=True, kw_only=True):
    """Another whole model: merged, quantised, or of another kind."""

    folder: str


Model = Base | HashedAdapter | Whole


class ScoreTexts(msgspec.Struct, tag="score", frozen=True, kw_only=True):
    """Request the likelihood of texts under some models."""

    models: list[Base | HashedAdapter]
    texts: list[str]


class ReadTexts(msgspec.Struct, tag="read", frozen=True, kw_only=True):
    """Request a model's expectations at each token of texts."""

    model: Base | HashedAdapter
    texts: list[str]
    top: int


class Compare(msgspec.Struct, tag="compare", frozen=True, kw_only=True):
    """Request the difference of two models on texts."""

    a: Model
    b: Model
    texts: list[str]


class BaseOpened(msgspec.Struct, tag="opened", frozen=True, kw_only=True):
    """The base is loaded: its hash, arithmetic and software."""

    weights: str
    dtype: str
    engine: str


class Scored(msgspec.Struct, tag="scored", frozen=True, kw_only=True):
    """NLL sums in nats, tokens, and tokens without a number, models x texts, row-major.

    float64, int64 and int64. A text that is too long, or has no token to predict, has NaN and no
    tokens.
    """

    sums: bytes
    tokens: bytes
    non_finite: bytes


class Expected(msgspec.Struct, tag="expected", frozen=True, kw_only=True):
    """Chosen logprobs float32 ``(p,)``, text index int64 ``(p,)``, and the likeliest tokens.

    Those are int64 and float32 ``(p, top)``, best first.
    """

    top: int
    chosen: bytes
    document: bytes
    tokens: bytes
    logprobs: bytes


class ComparedTexts(msgspec.Struct, tag="compared", frozen=True, kw_only=True):
    """Over whole vocabularies, text by text."""

    parities: tuple[Parity, ...]


class UnaskedCause(StrEnum):
    """Why a model was not asked, apart from transient failures."""

    FOLDER = "folder"
    TOKENIZERS = "tokenizers"


class FolderProblem(msgspec.Struct, tag="refused", frozen=True, kw_only=True):
    """A folder cannot be used, or two models cannot be compared."""

    cause: UnaskedCause
    folder: str
    reason: str


Request = OpenBase | ScoreTexts | ReadTexts | Compare
Reply = BaseOpened | Scored | Expected | ComparedTexts | FolderProblem | Failure

REQUESTS: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)

LOCAL: Final = Dialogue(
    module="monitor.probes.local.worker",
    opened=BaseOpened,
    replies=msgspec.msgpack.Decoder(Reply),
)
