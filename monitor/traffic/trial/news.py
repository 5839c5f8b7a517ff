"""A canary's state as people are told of it: what happened, and what was done. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alerts.message import ActionLine, Done
from alerts.words import percent
from monitor.traffic.trial.states import CanaryState, Pause, Phase, TrialMove


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryNews:
    """The parts of a message about a canary.

    headline
        What happened, without a colon.
    reason
        Why, with its numbers.
    action
        What was done with the traffic. It has no times, because whatever changes here is told
        again.
    """

    headline: str
    reason: str
    action: ActionLine

    @property
    def text(self) -> str:
        """Everything in one line, the headline before the first colon."""
        return f"{self.headline}: {self.reason}"


def canary_news(state: CanaryState, *, trial: str, control: str) -> CanaryNews:
    """Describe a canary of the version ``trial`` beside ``control``."""
    reason = f"{state.reason}; {state.unverified}" if state.unverified else state.reason
    return CanaryNews(
        headline=_headline(state, control),
        reason=reason,
        action=_action(state, trial=trial, control=control),
    )


def _headline(state: CanaryState, control: str) -> str:
    if state.unverified and state.phase in _UNCONFIRMED:
        return f"canary's {_UNCONFIRMED[state.phase]} not confirmed by the router"
    if state.worse and state.phase is Phase.ROLLED_BACK:
        return f"canary rolled back, answers worse than {control}"
    if state.phase is not Phase.PAUSED:
        return f"canary {state.phase.value.replace('_', ' ')}"
    if state.proposal is TrialMove.ROLLBACK:
        return "canary answers worse, but is not rolled back"
    at = f" at {percent(state.weight)}" if state.placed else ""
    return f"canary paused{at}, {_WHY[state.pause or Pause.MANUAL]}"


_UNCONFIRMED: Final = {
    Phase.RUNNING: "share is",
    Phase.PAUSED: "share is",
    Phase.PROMOTING: "promotion is",
    Phase.ROLLING_BACK: "rollback is",
}

_WHY: Final = {
    Pause.INCONCLUSIVE: "still undecided",
    Pause.MANUAL: "by a person",
    Pause.BLIND: "its answers cannot be measured",
    Pause.BUDGET: "too many were rolled back",
    Pause.STABLE: "the stable version is in question",
    Pause.PERMISSION: "waits for a person",
    Pause.PRECHECKS: "its pre-checks have no answer",
}


def _action(state: CanaryState, *, trial: str, control: str) -> ActionLine:
    if state.phase is Phase.PAUSED and state.proposal is not None:
        share = f"{percent(state.weight)} of the" if state.weight else "copies of"
        text = _PROPOSALS[state.proposal].format(trial=trial, control=control, share=share)
        return ActionLine(done=Done.RECOMMENDED, kind=state.proposal.value, text=text)
    if state.latched:
        goes = "again" if state.begun_at else "as before"
        text = (
            f"all requests go to {control} {goes}; {trial} is out until somebody lets it try again"
        )
        return ActionLine(done=Done.TAKEN, kind=TrialMove.ROLLBACK.value, text=text)
    return ActionLine(done=Done.TAKEN, kind="canary", text=_kept(state, trial))


_PROPOSALS: Final = {
    TrialMove.ADVANCE: "raise the share of {trial}",
    TrialMove.PROMOTE: "put {trial} in charge",
    TrialMove.ROLLBACK: "give back to {control} the {share} requests that {trial} answers",
}


def _kept(state: CanaryState, trial: str) -> str:
    if not state.placed:
        return f"no requests go to {trial} yet"
    share = f"{percent(state.weight)} of the requests" if state.weight else "copies of requests"
    return f"{share} still go to {trial}"
