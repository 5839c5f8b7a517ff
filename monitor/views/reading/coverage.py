"""How much of its requests a version's detectors compare: as people see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detectors.words import name_words
from monitor.domain import AdapterId, VerdictSeverity, Version
from monitor.evaluate.unseen import mend
from monitor.policy import PolicySettings
from monitor.policy.coverage import BLINDING, Coverage, Seen, Why
from monitor.policy.coverage_words import coverage_words, largest_first, least, sampling_words
from monitor.policy.words import why_words
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.records import capture_counts
from monitor.views.coverage import CoverageBody, GapBody, SamplingBody

DAY: Final = timedelta(hours=24)


def seen_of(judged: VerdictRow | None) -> Seen:
    """Read which of the newest requests a version's verdict rests on."""
    return judged.memory.seen if judged else Seen()


def newest(judged: VerdictRow | None) -> list[CoverageBody]:
    """Give what each detector compares of the newest requests, the least covered first."""
    seen = seen_of(judged)
    return bodies(seen.coverage(), since=seen.since)


def least_covered(judged: VerdictRow | None) -> CoverageBody | None:
    """Give the detector that compares the least of what it could; None: nothing is known."""
    seen = seen_of(judged)
    found = least(seen.coverage())
    return None if found is None else body(found, since=seen.since)


def mending(
    judged: VerdictRow | None, version: Version | None, policy: PolicySettings
) -> str | None:
    """Name the one command that lets a blind version see again; None: it is not blind."""
    blind = seen_of(judged).blindness(policy)
    if blind is None or version is None:
        return None
    well = judged is None or judged.verdict.severity is VerdictSeverity.NONE
    return mend(blind, version, well=well)


def last_day(tx: Connection, version: Version | None, *, now: datetime) -> list[CoverageBody]:
    """Give what each detector compared of the last 24 hours' requests."""
    if version is None:
        return []
    return bodies(evaluations.coverage_since(tx, version_id=version.id, since=now - DAY))


def bodies(
    found: Iterable[Coverage], *, since: Mapping[Why, datetime] | None = None
) -> list[CoverageBody]:
    """Write coverage out by detector, the least covered first."""
    return sorted((body(one, since=since or {}) for one in found), key=_least_first)


def _least_first(one: CoverageBody) -> tuple[bool, float, str]:
    return one.of_expected is None, one.of_expected or 0.0, one.detector


def body(one: Coverage, *, since: Mapping[Why, datetime]) -> CoverageBody:
    """Write one detector's coverage out."""
    begun = [since[why] for why in one.gaps if why.cause in BLINDING and why in since]
    return CoverageBody.of(
        one,
        title=name_words(one.detector),
        since=min(begun, default=None),
        gaps=[
            GapBody.of(why, requests=n, since=since.get(why), text=why_words(why))
            for why, n in largest_first(one)
        ],
        text=coverage_words(one),
    )


def sampling(tx: Connection, adapter_id: AdapterId, *, now: datetime) -> SamplingBody:
    """Count an adapter's requests of the last 24 hours, and those that sampling set aside."""
    counts = capture_counts.totals(tx, adapter_id=adapter_id, since=now - DAY)
    found = {name: counts.get(name, 0) for name in capture_counts.REQUESTS}
    requests, aside = sum(found.values()), found["sampled_out"]
    return SamplingBody(
        requests=requests,
        sampled_out=aside,
        text=sampling_words(requests=requests, sampled_out=aside),
    )
