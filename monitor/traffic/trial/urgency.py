"""The urgency with which people are told of a canary's state. Pure."""

from __future__ import annotations

from typing import assert_never

from monitor.domain import VerdictSeverity
from monitor.traffic.trial.states import CanaryState, Pause, Phase, TrialMove


def urgency(state: CanaryState, *, newer: bool = False) -> VerdictSeverity:
    """Return how urgently to tell people; NONE also ends what was told before.

    A canary that waits for a person pages; one that is over and safe is a ticket.
    ``newer``: the adapter has had another canary since, so this one needs no message any
    more.
    """
    match state.phase:
        case Phase.PAUSED:
            return _paused(state)
        case Phase.ROLLED_BACK:
            return VerdictSeverity.NONE if state.asked or newer else VerdictSeverity.TICKET
        case Phase.ROLLING_BACK | Phase.PROMOTING:
            return VerdictSeverity.PAGE if state.unverified else VerdictSeverity.NONE
        case Phase.RUNNING:
            return VerdictSeverity.TICKET if state.unverified else VerdictSeverity.NONE
        case Phase.DRAFT | Phase.PRECHECKS | Phase.SUCCEEDED | Phase.SUPERSEDED:
            return VerdictSeverity.NONE
        case _:
            assert_never(state.phase)


def _paused(state: CanaryState) -> VerdictSeverity:
    if state.proposal is TrialMove.ROLLBACK:
        return VerdictSeverity.PAGE
    match state.pause:
        case Pause.INCONCLUSIVE | Pause.BLIND | Pause.BUDGET:
            return VerdictSeverity.PAGE
        case Pause.STABLE | Pause.PERMISSION | Pause.PRECHECKS:
            return VerdictSeverity.TICKET
        case Pause.MANUAL | None:
            return VerdictSeverity.NONE
        case _:
            assert_never(state.pause)
