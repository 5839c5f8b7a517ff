"""The result of a perplexity evaluation, as a fact for the rules and a score for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from detectors.identity import Identity
from detectors.perplexity import as_score
from detectors.trend import Trend
from detectors.types import Score
from monitor.evaluate.probing.answer import Answer, leading
from monitor.evaluate.probing.company import Company
from monitor.policy import IdentityFact, PerplexityFact
from monitor.policy.probed import WRONG


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeOutcome:
    """The result of a perplexity evaluation; ``stopped`` says why there is no answer.

    ``fact`` is None where the version was just registered: its healthy state was measured
    only now. ``corpora`` are the ids of the corpora in use. ``again_in`` is the time after
    which a refused probe may ask again, where it is known.
    """

    fact: PerplexityFact | None = None
    identity: IdentityFact | None = None
    corpora: tuple[str, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    stopped: str | None = None
    again_in: timedelta | None = None


def fact_of(answers: Sequence[Answer], company: Company | None) -> PerplexityFact:
    """Combine the corpora's results into one fact: changed, degraded, forgotten.

    The adapter's own domain decides about *degraded*. If a general corpus is harder while
    the domain is not, it has been *forgotten*.
    """
    lead = leading(answers)
    degraded = lead.change.degraded
    lost = None if degraded else _forgotten(answers, lead)
    changed = next((a for a in answers if a.change.changed), None)
    told = lead if degraded else lost or changed or lead
    words = list(lead.change.reasons)
    if lost is not None:
        words = [_forgetting_words(lost, lead)]
    elif told is not lead:
        words = [f"{told.corpus.name} corpus: {told.change.reasons[0]}", lead.change.reasons[1]]
    if told.found and told.engine_words is not None:
        words.append(told.engine_words)
    if told.found and told.other_files:
        words.append("its files are not those of the registration")
    return PerplexityFact(
        at=min(answer.at for answer in answers),
        measured_from=min(answer.measured_from for answer in answers),
        changed=changed is not None,
        degraded=degraded,
        forgotten=lost is not None,
        ratio=lead.change.effect,
        low=lead.change.interval[0],
        base_moved=company.base_moved if company else None,
        company_ratio=company.ratio if company else None,
        one_replica=company is not None and company.one_replica,
        other_files=told.found and told.other_files,
        corpus=told.corpus.id,
        week=lead.trend.mean if lead.trend is not None and lead.trend.whole else None,
        reason="; ".join([*words, *([company.words] if company else [])]),
    )


def identity_fact(found: Identity, *, at: datetime) -> IdentityFact:
    """Return which weights answer under the version's name."""
    return IdentityFact(at=at, state=found.state, reason=found.reason)


def score_of(answers: Sequence[Answer], identity: Identity | None) -> Score:
    """Return one score, the leading corpus's, with the numbers of every corpus beside it."""
    score = as_score(leading(answers).change)
    notices = [as_score(answer.change).evidence_notice for answer in answers]
    wrong = identity is not None and identity.state in WRONG
    return replace(
        score,
        # other weights count as past the line, although no process measured how far
        evidence_notice=max([*notices, *([0.0] if wrong else [])]),
        winner=_winner(answers, identity),
        details={
            **score.details,
            "corpora": [_corpus_numbers(answer) for answer in answers],
            "trend": _trend_numbers(leading(answers).trend),
            "identity": _identity_numbers(identity),
            "measured_from": min(answer.measured_from for answer in answers).isoformat(),
        },
    )


def _winner(answers: Sequence[Answer], identity: Identity | None) -> str | None:
    """Return the finding that messages name first."""
    if identity is not None and identity.state in WRONG:
        return identity.state.value
    if leading(answers).change.degraded:
        return "perplexity:up"
    if _forgotten(answers, leading(answers)) is not None:
        return "forgetting:up"
    return "perplexity:ratio" if any(answer.found for answer in answers) else None


def _forgotten(answers: Sequence[Answer], lead: Answer) -> Answer | None:
    """Return the general corpus that is most surely harder."""
    lost = [a for a in answers if a is not lead and a.change.degraded]
    return max(lost, key=lambda a: a.change.interval[0], default=None)


def _forgetting_words(lost: Answer, lead: Answer) -> str:
    low, high = lost.change.interval
    own = f"{lead.change.effect:+.1%}" if lead.change.changed else "unchanged"
    return (
        f"{lost.corpus.name} text harder by {lost.change.effect:+.1%}"
        f" (95 % interval {low:+.1%} to {high:+.1%}), its own domain {own}: the adapter forgets"
    )


def _corpus_numbers(answer: Answer) -> dict[str, Any]:
    change = answer.change
    return {
        "name": answer.corpus.name,
        "role": answer.corpus.role.value,
        "id": answer.corpus.id,
        "documents": change.documents,
        "unscored": change.unscored,
        "perplexity": change.perplexity,
        "reference_perplexity": change.reference_perplexity,
        "bits_per_byte": change.bits_per_byte,
        "reference_bits_per_byte": change.reference_bits_per_byte,
        "ratio": change.effect,
        "interval": list(change.interval),
        "changed": change.changed,
        "degraded": change.degraded,
        "largest_move": change.largest_move,
        "floor": change.noise_floor,
    }


def _trend_numbers(heading: Trend | None) -> dict[str, Any] | None:
    if heading is None:
        return None
    crossing = heading.crossing
    return {
        "mean_7d": heading.mean,
        "whole": heading.whole,
        "slope_per_day": heading.slope,
        "crosses_at": _iso(crossing.at) if crossing else None,
        "earliest": _iso(crossing.earliest) if crossing else None,
        "latest": _iso(crossing.latest) if crossing else None,
    }


def _iso(seconds: float) -> str | None:
    """Return the date as text; None beyond the years that a date can have."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="minutes")
    except (OverflowError, ValueError):
        return None


def _identity_numbers(found: Identity | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "state": found.state.value,
        "sibling": found.sibling,
        "kl": found.kl,
        "nll_difference": found.nll_difference,
        "gap": found.gap,
        "reason": found.reason,
    }
