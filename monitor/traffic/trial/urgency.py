"""How urgently people are told where a canary stands. Pure."""

from __future__ import annotations

from typing import assert_never

from monitor.domain import Severity
from monitor.traffic.trial.states import CanaryState, Move, Pause, Phase


def urgency(state: CanaryState, *, newer: bool = False) -> Severity:
    """Say how urgently; NONE is also the end of what was told before.

    Who waits for a person pages; what is over and safe is a ticket. ``newer``: the adapter
    has had another canary since, so nobody has to be told of this one any more.
    """
    match state.phase:
        case Phase.PAUSED:
            return _paused(state)
        case Phase.ROLLED_BACK:
            return Severity.NONE if state.asked or newer else Severity.TICKET
        case Phase.ROLLING_BACK | Phase.PROMOTING:
            return Severity.PAGE if state.unverified else Severity.NONE
        case Phase.RUNNING:
            return Severity.TICKET if state.unverified else Severity.NONE
        case Phase.DRAFT | Phase.PRECHECKS | Phase.SUCCEEDED | Phase.SUPERSEDED:
            return Severity.NONE
        case _:
            assert_never(state.phase)


def _paused(state: CanaryState) -> Severity:
    if state.proposal is Move.ROLLBACK:
        return Severity.PAGE
    match state.pause:
        case Pause.INCONCLUSIVE | Pause.BLIND | Pause.BUDGET:
            return Severity.PAGE
        case Pause.STABLE | Pause.PERMISSION | Pause.PRECHECKS:
            return Severity.TICKET
        case Pause.MANUAL | None:
            return Severity.NONE
        case _:
            assert_never(state.pause)
