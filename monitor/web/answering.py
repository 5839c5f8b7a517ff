"""Who answers an adapter's requests now, and how each of those versions is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import AdapterId
from monitor.store.evaluation import verdicts
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.arms import effective
from monitor.views.reading import route
from monitor.views.route import RouteBody
from monitor.web.wording import share

WORST_FIRST: Final = (
    VerdictKind.CRITICAL,
    VerdictKind.DRIFTING,
    VerdictKind.ERROR,
    VerdictKind.BLIND,
)
_IS: Final = {
    VerdictKind.STABLE: "is healthy",
    VerdictKind.LEARNING: "is still learning what is normal",
    VerdictKind.INSUFFICIENT: "had too few requests to be judged",
    VerdictKind.BLIND: "is not fully monitored",
    VerdictKind.ERROR: "cannot be checked",
    None: "was not evaluated yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsAnswering:
    """The versions that answer at this moment; expiry of the route is applied."""

    route: RouteBody
    verdicts: Mapping[str, VerdictKind]
    """By version; one that is missing was not evaluated yet."""

    @property
    def sentence(self) -> str:
        """Say who answers which share, and whether users are safe there.

        The arms with traffic stand first, the largest at the front.
        """
        serving = sorted(
            (arm for arm in self.route.arms if arm.weight > 0), key=lambda arm: -arm.weight
        )
        if len(serving) == 1:
            [whole] = serving
            return f"{whole.version} answers every request; it {self.state_of(whole.version)}."
        return (
            "; ".join(
                f"{arm.version} answers {share(arm.weight)} and {self.state_of(arm.version)}"
                for arm in serving
            )
            + "."
        )

    @property
    def worst(self) -> str:
        """The most serious verdict among those who answer; empty: none is serious."""
        found = {self.verdicts.get(arm.version) for arm in self.route.arms if arm.weight > 0}
        return next((kind.value for kind in WORST_FIRST if kind in found), "")

    def state_of(self, version: str) -> str:
        """Say how a version is, as ``is stable``."""
        kind = self.verdicts.get(version)
        return _IS.get(kind) or f"is {kind}"


def read_answering(
    tx: Connection, row: RouteRow | None, *, adapter_id: AdapterId, now: datetime
) -> VersionsAnswering | None:
    """Read who answers now; None: there is no route."""
    if row is None:
        return None
    judged = verdicts.of_adapter(tx, adapter_id=adapter_id)
    return VersionsAnswering(
        route=route.route(effective(row.route, now)),
        verdicts={one.version: one.verdict.kind for one in judged},
    )
