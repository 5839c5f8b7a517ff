"""The proof that versions are served, before traffic goes to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from monitor.domain import Arm, ArmKind, Route, Version
from monitor.engine_addresses import NO_ADDRESS
from monitor.probes.engines import ReplicaListing
from monitor.store.database import Database
from monitor.store.registry import versions
from monitor.traffic.routers.contract import Router, RouterFailed

_LOG = structlog.get_logger(__name__)


class Listings(Protocol):
    """The part of :class:`monitor.probes.engines.Engines` that is needed here."""

    def listing(self, model: str) -> ReplicaListing: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Makes versions ready where the router can, and asks every engine for them.

    Call it outside transactions: each answer takes requests to every replica.
    """

    database: Database
    router: Router
    engines: Listings

    def served(self, model: str) -> bool:
        """Make the model ready, and return True if every engine that answers serves the model."""
        known = self.database.run(lambda tx: versions.served_as(tx, model))
        try:
            self.router.prepare(known)
        except RouterFailed as failed:
            _LOG.warning("version_not_ready", model=model, error=str(failed))
            return False
        return self.engines.listing(model).everywhere

    def problems(
        self, before: Route | None, arms: Sequence[Arm], registered: Sequence[Version]
    ) -> list[str]:
        """Say why traffic cannot go where these arms send it; empty: it can.

        Versions that answer already are not checked: a person in trouble moves everything
        to one of them, perhaps while half of the engines are down.

        Parameters
        ----------
        before
            The route in force.
        arms
            The arms of the wanted route.
        registered
            The adapter's versions.
        """
        answering = {arm.model for arm in before.arms if arm.weight > 0} if before else set()
        asked = {
            arm.model
            for arm in arms
            if (arm.weight > 0 or arm.arm is ArmKind.SHADOW) and arm.model not in answering
        }
        try:
            self.router.prepare([one for one in registered if one.model in asked])
        except RouterFailed as failed:
            return [str(failed)]
        return [why for model in sorted(asked) if (why := self._why_not(model)) is not None]

    def _why_not(self, model: str) -> str | None:
        found = self.engines.listing(model)
        if found.nowhere:
            return f"nothing shows that {model} is served: {NO_ADDRESS}"
        if found.lacking:
            return f"{model} is not served by {', '.join(found.lacking)}"
        if found.silent and not found.holding:
            return (
                f"nothing shows that {model} is served: {', '.join(found.silent)} gives no answer"
            )
        return None
