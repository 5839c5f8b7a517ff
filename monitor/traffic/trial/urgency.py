"""The urgency with which people are told of a canary's state. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from monitor.domain import VerdictSeverity
from monitor.traffic.trial.states import CanaryState, Pause, Phase, TrialMove


def urgency(
    state: CanaryState, *, now: datetime, settles: timedelta, newer: bool = False
) -> VerdictSeverity | None:
    """Return how urgently to tell people.

    Only traffic that should move and does not is worth a page: a version that was proven worse
    and still has its share, or a router that does not follow. A canary that is undecided or
    cannot be measured harms nobody more than before, so it is a ticket, as is one that was rolled
    back. NONE also ends what was told before; None leaves it as it was told, until the canary has
    run for ``settles`` after its pause, or the router has confirmed that it is out.
    ``newer``: the adapter has had another canary since, so this one needs no message any
    more.
    """
    match state.phase:
        case Phase.PAUSED:
            return _paused(state)
        case Phase.ROLLED_BACK:
            return VerdictSeverity.NONE if state.asked or newer else VerdictSeverity.TICKET
        case Phase.ROLLING_BACK:
            return VerdictSeverity.PAGE if state.unverified else None
        case Phase.PROMOTING:
            return VerdictSeverity.PAGE if state.unverified else VerdictSeverity.NONE
        case Phase.RUNNING:
            return _running(state, now=now, settles=settles)
        case Phase.DRAFT | Phase.PRECHECKS | Phase.SUCCEEDED | Phase.SUPERSEDED:
            return VerdictSeverity.NONE
        case _:
            assert_never(state.phase)


def _running(state: CanaryState, *, now: datetime, settles: timedelta) -> VerdictSeverity | None:
    if state.unverified:
        return VerdictSeverity.TICKET
    eased = state.eased_at
    if eased is not None and (state.blind or now - eased < settles):
        return None
    return VerdictSeverity.NONE


def _paused(state: CanaryState) -> VerdictSeverity:
    if state.proposal is TrialMove.ROLLBACK:
        return VerdictSeverity.PAGE
    by_hand = state.pause in {Pause.MANUAL, None}
    return VerdictSeverity.NONE if by_hand else VerdictSeverity.TICKET
