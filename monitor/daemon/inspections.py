"""Inspect the weights of newly registered versions, in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from monitor.artifacts.finding import Artifacts
from monitor.domain import Version, WeightsState
from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.process import inspect_apart
from monitor.store.database import Database
from monitor.store.registry import inspections

_LOG = structlog.get_logger(__name__)

NOT_READABLE: Final = "not readable here"
"""The only text for an unreachable folder, so that nobody can probe paths through us."""


def inspecting(database: Database, artifacts: Artifacts) -> Callable[[], bool]:
    """Return a loop's turn: it inspects one version, and returns True if there may be more.

    Two daemons may inspect the same version; one row and one log line remain.
    """

    def turn() -> bool:
        version = database.run(lambda tx: inspections.waiting(tx, readable=artifacts.readable))
        if version is None:
            return False
        found = _inspect(version, artifacts)
        if database.run(lambda tx: inspections.put(tx, version_id=version.id, **found)):
            tell = _LOG.info if found["state"] is WeightsState.HEALTHY else _LOG.warning
            tell(
                "weights_inspected",
                version=version.label,
                state=found["state"].value,
                reason=found["reason"],
            )
        return True

    return turn


def _inspect(version: Version, artifacts: Artifacts) -> dict[str, Any]:
    try:
        folder = artifacts.fetched(version)
        if folder is None:
            return {"state": WeightsState.UNREADABLE, "reason": NOT_READABLE}
        return _kept(version, inspect_apart(folder))
    except WeightsRefused as error:
        return _refused(error)


def _kept(version: Version, report: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the files with the registered hash: their identity, or the weights file's alone."""
    state, reason = WeightsState(report["state"]), report["reason"]
    identity, of_file = report["identity"], report["sha256"]
    if version.sha256 == of_file:
        reason += "; the registered sha256 is of the weights file alone, not of its config"
    elif version.sha256 and version.sha256 != identity:
        other = f"the adapter's identity is {identity[:12]}…, not the registered one"
        reason = other if state is WeightsState.HEALTHY else f"{other}; {reason}"
        state = WeightsState.BROKEN if state is WeightsState.BROKEN else WeightsState.SUSPECT
    return {"state": state, "reason": reason, "weights": identity, "found": report}


def _refused(error: WeightsRefused) -> dict[str, Any]:
    match error.refusal:
        case Remedy.MISSING:
            return {"state": WeightsState.UNREADABLE, "reason": NOT_READABLE}
        case Remedy.UNSUPPORTED:
            return {"state": WeightsState.UNREADABLE, "reason": error.reason}
        case Remedy.DAMAGED:
            return {"state": WeightsState.BROKEN, "reason": error.reason}
