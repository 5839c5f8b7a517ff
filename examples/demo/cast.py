"""Who is on stage: the adapter versions that the demo serves and registers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.texts import Domain

MODELS: Final = Path(__file__).parents[1] / "models"
"""Not imported from `examples.weights`: the demo's own process loads no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One adapter version of the demo."""

    adapter: str
    name: str
    domain: Domain
    weights: Path
    parent: str | None = None

    @property
    def model(self) -> str:
        """Name that the engine serves it under."""
        return f"{self.adapter}@{self.name}"


VERSIONS: Final = (
    Version(adapter="support", name="v1", domain=Domain.SUPPORT, weights=MODELS / "support-v1"),
    Version(
        adapter="support",
        name="v2",
        domain=Domain.SUPPORT,
        weights=MODELS / "support-v2",
        parent="v1",
    ),
    Version(adapter="booking", name="v1", domain=Domain.BOOKING, weights=MODELS / "booking-v1"),
    Version(adapter="travel", name="v1", domain=Domain.TRAVEL, weights=MODELS / "travel-v1"),
)
GOOD_RELEASE: Final = Version(
    adapter="travel",
    name="v2",
    domain=Domain.TRAVEL,
    weights=MODELS / "travel-v2",
    parent="v1",
)
"""Served and registered from the beginning, and asked by nobody until it is a canary."""
BAD_RELEASE: Final = Version(
    adapter="booking",
    name="v2",
    domain=Domain.BOOKING,
    weights=MODELS / "booking-v1",
    parent="v1",
)
"""Made when it is needed, by breaking these weights."""
IN_CHARGE: Final = {"support": "v2", "booking": "v1", "travel": "v1"}
"""The version that answers for each adapter when the curtain rises."""
REQUESTS_PER_SECOND: Final = {"support": 4.0, "booking": 3.0, "travel": 2.0}


def domain_of(adapter: str) -> Domain:
    """What an adapter's users normally ask about."""
    return next(version.domain for version in VERSIONS if version.adapter == adapter)
