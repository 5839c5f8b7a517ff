"""How likely a fixed corpus is to a model: the result of a run, by any probe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from alerts.outgoing import Reply
from monitor.probes.prompt_logprobs import PerplexitySource

LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes that the HTTP client must be allowed to read: 70 for each prompt token, or 1.5 KB
with its 20 likeliest rivals."""
TOLD: Final = "told:"
"""Prefix of a hash of weights that only an engine's own statement supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexitySettings:
    """The settings for asking an engine.

    timeout
        For one document.
    max_waiting
        Requests that may queue in the engine while the probe runs.
    patience
        How long a run waits for a queue before it stops. A service stops at once and tries again
        later; a command that someone waits for has only this run.
    quiet
        How long one reading by a base model may wait for moments without other requests; the rest
        is read beside them, and marked so.
    headers
        Sent with each request, such as ``authorization``.
    """

    source: PerplexitySource = PerplexitySource.AUTO
    timeout: timedelta = timedelta(seconds=60)
    max_waiting: int = 0
    patience: timedelta = timedelta(0)
    quiet: timedelta = timedelta(seconds=20)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScore:
    """One document's NLL sum in nats over ``tokens``; NaN if it could not be scored.

    ``bytes`` is the document's UTF-8 length, for bits per byte. ``non_finite`` tokens were NaN
    (left out) or -inf (taken as 30 nats). ``beside`` is true if a base model had to read it while
    its engine had other requests. ``read`` is the monotonic time of the reading.
    """

    document: str
    sum_nll: float
    tokens: int
    bytes: int
    non_finite: int = 0
    beside: bool = False
    read: float = field(default_factory=time.monotonic, compare=False)

    @property
    def age(self) -> float:
        """Seconds since it was read."""
        return time.monotonic() - self.read


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityRun:
    """A scored corpus, documents in order.

    engine
        Name and version of the engine, if known.
    stopped
        Why the run ended early, None if it did not.
    numberless
        True if it ended because the engine answers for this model without numbers.
    replica
        Address of the engine, without credentials; None for a model on this machine.
    source
        The way of asking.
    dtype, weights
        The arithmetic, and a hash of the weights, if known.
    seconds
        Seconds of the engine's time; None if no engine was asked.
    """

    documents: tuple[DocumentScore, ...]
    engine: str | None
    stopped: str | None = None
    numberless: bool = False
    replica: str | None = None
    source: PerplexitySource | None = None
    dtype: str | None = None
    weights: str | None = None
    seconds: float | None = None


class Http(Protocol):
    """The part of :class:`alerts.outgoing.OutgoingClient` that is needed here."""

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Reply: ...

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float | None = None
    ) -> Reply: ...
