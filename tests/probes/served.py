"""A probe of fake engines, with clocks that tests turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.engine_addresses import EngineAddresses
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus, Document
from monitor.probes.perplexity import LARGEST_ANSWER, PerplexitySettings
from monitor.probes.restraint import Clocks, Restraint
from monitor.probes.serving import Engines, ServedProbe
from tests.loopback import LOOPBACK

HTTP = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=LARGEST_ANSWER))
CORPUS = Corpus(
    name="small",
    documents=tuple(Document(id=f"d{i}", text="word " * i + "é") for i in range(1, 6)),
)
LONG = Corpus(
    name="long",
    documents=tuple(Document(id=f"d{i}", text="word " * (100 + i) + "é") for i in range(1, 6)),
)
"""Documents so long that rounding moves them by its least."""
SUPPORT = Target(model="support@v7")
BASE = Target(model="base")
NOON = datetime(2026, 11, 25, 12, 4, tzinfo=UTC)


@dataclass
class Time:
    """Seconds since noon, turned by hand."""

    at: float = 0.0

    @property
    def clocks(self) -> Clocks:
        return Clocks(monotonic=lambda: self.at, now=lambda: NOON + timedelta(seconds=self.at))


def served(
    *urls: str,
    time: Time | None = None,
    share: float = 0.1,
    http: Any = HTTP,
    general: Corpus = CORPUS,
    **settings: Any,
) -> ServedProbe:
    """Probe engines by a corpus of five documents, usually short ones."""
    clocks = None if time is None else time.clocks
    engines = engines_of(urls, http=http, restraint=Restraint(share=share, clocks=clocks))
    return ServedProbe(
        general=general, engines=engines, http=http, settings=PerplexitySettings(**settings)
    )


def engines_of(
    urls: Sequence[str] | EngineAddresses, *, http: Any = HTTP, **options: Any
) -> Engines:
    return Engines(urls, http, headers={}, **options)
