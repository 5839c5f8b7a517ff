"""The prechecks that decide whether a version may begin to answer people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from detectors.identity import Identity, IdentityState
from detectors.perplexity import DocumentScores, compare
from monitor.domain import WeightsState
from monitor.traffic.trial.states import PrechecksLooked


class Precheck(StrEnum):
    """The checks made before a canary begins; a person may leave out any of them."""

    WEIGHTS = "weights"
    SERVED = "served"
    APPLIED = "applied"
    PERPLEXITY = "perplexity"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SameCorpus:
    """Runs of both versions over one corpus; ``stable`` at least one."""

    corpus: str
    stable: Sequence[DocumentScores]
    canary: DocumentScores


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VersionFacts:
    """The known facts about a version.

    weights
        State and reason of its inspection; None: its files are missing, or not yet inspected.
    awaited
        Whether an inspection of its files is still to come.
    served
        Whether all engines list it.
    probed
        Whether probes run here at all; where none run, no probe is waited for.
    """

    weights: tuple[WeightsState, str] | None = None
    awaited: bool = False
    served: bool = False
    probed: bool = False
    identity: Identity | None = None
    corpora: Sequence[SameCorpus] = ()


_NOT_ITSELF: Final = frozenset(
    {IdentityState.NOT_APPLIED, IdentityState.MIXED_UP, IdentityState.WRONG_WEIGHTS}
)
_UNHEALTHY: Final = frozenset({WeightsState.SUSPECT, WeightsState.BROKEN})


def check(
    facts: VersionFacts, *, unchecked: Collection[str], perplexity_margin: float, given_up: bool
) -> PrechecksLooked:
    """Run all prechecks; a failure comes before an unknown result.

    ``given_up``: the unknown results were awaited for long enough.
    """
    answers = {
        Precheck.WEIGHTS: _weights(facts),
        Precheck.SERVED: _served(facts),
        Precheck.APPLIED: _applied(facts),
        Precheck.PERPLEXITY: _perplexity(facts, perplexity_margin),
    }
    asked = [answer for name, answer in answers.items() if name not in unchecked]
    for passed in (False, None):
        said = list(dict.fromkeys(reason for fine, reason in asked if fine is passed))
        if said:
            return PrechecksLooked(passed=passed, reason="; ".join(said), given_up=given_up)
    left_out = [name.value for name in Precheck if name in unchecked]
    fine = "; ".join(dict.fromkeys(reason for _, reason in asked)) or "nothing was to be checked"
    noted = f"; left out: {', '.join(left_out)}" if left_out else ""
    return PrechecksLooked(passed=True, reason=f"{fine}{noted}")


_Answer = tuple[bool | None, str]


def _weights(facts: VersionFacts) -> _Answer:
    if facts.weights is None:
        if facts.awaited:
            return None, "its weights were not looked at yet"
        return True, "its weights are not at hand"
    state, reason = facts.weights
    if state in _UNHEALTHY:
        return False, f"its weights are {state.value}: {reason}"
    return True, f"its weights are {state.value}"


def _served(facts: VersionFacts) -> _Answer:
    return (True, "served") if facts.served else (None, "not every engine serves it")


def _applied(facts: VersionFacts) -> _Answer:
    found = facts.identity
    if found is None:
        return _unprobed(facts, "whether it is applied was not looked at yet")
    if found.state in _NOT_ITSELF:
        return False, f"it is {found.state.value.replace('_', ' ')}: {found.reason}"
    if found.state is IdentityState.UNKNOWN:
        return True, f"whether it is applied cannot be told: {found.reason}"
    return True, "applied"


def _perplexity(facts: VersionFacts, margin: float) -> _Answer:
    if not facts.corpora:
        return _unprobed(facts, "perplexity was not measured of both versions yet")
    found = [(one.corpus, compare(one.stable, one.canary)) for one in facts.corpora]
    words = ", ".join(f"{100 * change.effect:+.1f} % ({corpus})" for corpus, change in found)
    worse = any(change.effect > margin and change.interval[0] > 0 for _, change in found)
    if worse:
        return False, f"perplexity {words} > {100 * margin:g} %"
    return True, f"perplexity {words}"


def _unprobed(facts: VersionFacts, reason: str) -> _Answer:
    return (None, reason) if facts.probed else (True, "nothing probes it")
