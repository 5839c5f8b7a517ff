"""A replay from files to a story: read, freeze, run, and run again at other budgets."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from detectors.types import Process
from monitor.domain import AdapterId, EvaluationKind, Version, VersionId
from monitor.evaluate.findings import find
from monitor.evaluate.settings import EvaluateSettings
from monitor.probes.embedding import Embedder
from monitor.reference.baseline import Baseline
from monitor.replay import story
from monitor.replay.errors import ReplayFailed
from monitor.replay.reading import UNNAMED, LogReading, ReadLog, read_log, split
from monitor.replay.reference import Frozen, freeze
from monitor.replay.running import Replayed, Run, run
from monitor.replay.story import Story
from monitor.replay.tape import Tape
from monitor.replay.training import Training, read_training
from monitor.replay.watch import Watch
from monitor.windows import Cadence

BUDGETS: Final = (0.1, 1.0, 10.0)
"""Accepted false pages, and notices, per 30 days that the table compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The files of a replay: the log, its baseline and its training.

    baseline
        File of the baseline; None takes ``first`` of the log.
    first
        The log's first records, by number or time.
    training
        File of training texts; None takes those of the baseline's file, or the early half
        of the baseline.
    approve
        Let soft evidence page although the baseline covers less than 14 days.

    ``examples`` is the number of least similar prompts to show.
    """

    log: Path
    baseline: Path | None = None
    first: int | timedelta | None = None
    training: Path | None = None
    reading: LogReading = field(default_factory=LogReading)
    approve: bool = False
    examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayParts:
    """The parts of a replay; with ``embed`` None, prompts are not embedded.

    ``fleet`` is the number of versions that share the budget of pages; None: those of the
    log.
    """

    settings: EvaluateSettings
    cadences: Mapping[EvaluationKind, Cadence]
    embed: Embedder | None = None
    fleet: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOutcome:
    """Stories by label, and the versions that could not be replayed with the reason.

    ``baseline`` None: the log's first records are the baseline.
    """

    log: ReadLog
    baseline: ReadLog | None
    stories: Sequence[Story]
    failed: Mapping[str, str]


def replay(request: Request, tools: ReplayParts, *, watch: Watch) -> ReplayOutcome:
    """Replay a log.

    Raises
    ------
    ReplayFailed
        Nothing of it could be replayed.
    ProbeError
        The embedding probe failed.
    """
    files = _Files.read(request, tools, watch)
    stories: list[Story] = []
    failed: dict[str, str] = {}
    for label, records in files.log.records.items():
        try:
            stories.append(_story(label, records, files, request=request, tools=tools, watch=watch))
        except ReplayFailed as error:
            failed[label] = str(error)
    if not stories:
        raise ReplayFailed("; ".join(f"{label}: {why}" for label, why in failed.items()))
    return ReplayOutcome(log=files.log, baseline=files.baseline, stories=stories, failed=failed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Files:
    """The contents of the files. ``baseline`` None: the log's first records are the baseline."""

    training: Training | None
    baseline: ReadLog | None
    log: ReadLog

    @classmethod
    def read(cls, request: Request, tools: ReplayParts, watch: Watch) -> _Files:
        if request.baseline is None and request.first is None:
            raise ReplayFailed(
                "nothing to compare with: give --baseline FILE, or --baseline-first to take"
                " the first records of the log"
            )
        key, embed = secrets.token_bytes(32), tools.embed
        training = None if embed is None else _training(request, embed, key=key, watch=watch)
        hashes = training.hashes if training is not None else frozenset[bytes]()
        learned = training.learned if training is not None else None
        if request.baseline is None:
            log = read_log(request.log, request.reading, embed=embed, watch=watch, learned=learned)
            return cls(training=training, baseline=None, log=log)
        given = replace(request.reading, adapter=None, apart=True, excerpts=False)
        baseline = read_log(
            request.baseline,
            given,
            embed=embed,
            watch=watch,
            not_measured=hashes,
            key=key,
            learned=learned,
        )
        after = replace(request.reading, begin=_after(baseline, request.reading))
        log = read_log(request.log, after, embed=embed, watch=watch, learned=learned)
        return cls(training=training, baseline=baseline, log=log)

    def parts(self, label: str, records: Baseline, request: Request) -> tuple[Baseline, Baseline]:
        """Baseline and replayed records of one version."""
        if self.baseline is not None:
            return _own(self.baseline, label), records
        assert request.first is not None  # noqa: S101 (read checks it)
        first, rest = split(records, request.first)
        if len(rest) == 0:
            raise ReplayFailed(
                f"all of its {len(records)} records went into the baseline: none is left"
            )
        return first, rest


def _training(request: Request, embed: Embedder, *, key: bytes, watch: Watch) -> Training | None:
    if request.training is not None:
        found = read_training(request.training, embed, key=key, watch=watch)
        if found is None:
            raise ReplayFailed(f"{request.training.name}: no training text in it")
        return found
    if request.baseline is None:
        return None
    return read_training(request.baseline, embed, key=key, watch=watch, only_role=True)


def _after(baseline: ReadLog, reading: LogReading) -> datetime:
    """Return when evenly spread records of the log begin: where those of the baseline end."""
    if reading.per_day is None:
        return reading.begin
    last = max(float(one.at[-1]) for one in baseline.records.values())
    return datetime.fromtimestamp(last, tz=UTC) + timedelta(days=1.0 / reading.per_day)


def _own(baseline: ReadLog, label: str) -> Baseline:
    """Return the version's lines of a baseline file; all lines where it names one version only."""
    if len(baseline.records) == 1:
        return next(iter(baseline.records.values()))
    own = baseline.records.get(label) or baseline.records.get(UNNAMED)
    if own is None:
        names = ", ".join(sorted(baseline.records)[:10])
        raise ReplayFailed(f"{baseline.path.name} has no baseline of it, only of {names}")
    return own


def _story(
    label: str,
    records: Baseline,
    files: _Files,
    *,
    request: Request,
    tools: ReplayParts,
    watch: Watch,
) -> Story:
    first, rest = files.parts(label, records, request)
    version = _version(label, at=float(rest.at[0]))
    frozen = freeze(
        first,
        files.training,
        embed=tools.embed,
        approve=request.approve,
        in_training=files.baseline is None,
        now=version.registered_at,
        version_id=version.id,
        directions=tools.settings.directions(version.adapter),
    )
    replayed = Replayed(
        version=version,
        frozen=frozen,
        log=frozen.log_of(rest),
        settings=tools.settings,
        cadences=dict(tools.cadences),
        fleet=tools.fleet or len(files.log.records),
    )
    tape = Tape()
    found = run(replayed, tape.record, watch=watch, stage=f"replaying {label}", keep=True)
    days = max(replayed.log.days, 1e-9)
    return Story(
        label=label,
        traffic=story.traffic_of(replayed.log),
        reference=frozen.calibrated.reference,
        held_out=frozen.held_out,
        n_other_strata=frozen.n_other_strata,
        sources=story.sources_of(replayed.log, frozen, prompts=tools.embed is not None),
        detectors=story.detectors_of(found, frozen, tools.settings.detectors),
        changes=found.changes,
        budget=story.budget_line(found, tools.settings.budget.false_pages_per_30_days, days=days),
        budgets=_at_budgets(replayed, found, tape, watch=watch),
        verdict=found.verdict,
        examples=_examples(found, frozen, rest, files.log, most=request.examples),
    )


def _version(label: str, *, at: float) -> Version:
    adapter, _, name = label.rpartition("@")
    return Version(
        id=VersionId(0),
        adapter_id=AdapterId(0),
        adapter=adapter or label,
        name=name if adapter else "-",
        model=label,
        registered_at=datetime.fromtimestamp(at, tz=UTC),
    )


def _at_budgets(
    replayed: Replayed, first: Run, tape: Tape, *, watch: Watch
) -> list[story.BudgetLine]:
    """Count messages at other budgets, from the increments of the first run."""
    lines = []
    for budget in BUDGETS:
        found = first
        if _may_differ(first, replayed.settings, budget):
            found = _at(budget, replayed, tape, watch=watch)
        lines.append(story.budget_line(found, budget, days=max(replayed.log.days, 1e-9)))
    return lines


def _at(budget: float, replayed: Replayed, tape: Tape, *, watch: Watch) -> Run:
    settings = replayed.settings
    at_budget = replace(settings, budget=settings.budget.uniform(budget))
    kept = min(settings.budget.false_pages_per_30_days, settings.budget.notices_per_30_days) > 0
    return run(
        replace(replayed, settings=at_budget),
        tape.play if kept else find,
        watch=watch,
        stage=f"at a budget of {budget:g}",
        sparse=True,
    )


def _may_differ(first: Run, settings: EvaluateSettings, budget: float) -> bool:
    """Whether a run at another budget may send other messages than the first run did.

    Until it crosses, a process is proportional to its budget. A process that stayed quiet
    stays quiet at a smaller budget, and at a larger one if its evidence leaves room for the
    factor.
    """
    budgets = {
        Process.PAGE: settings.budget.false_pages_per_30_days,
        Process.NOTICE: settings.budget.notices_per_30_days,
    }
    if all(own == budget for own in budgets.values()):
        return False
    if first.crossed or 0.0 in budgets.values():
        return True
    return any(
        first.highest[process] + np.log10(max(1.0, budget / own)) >= 0.0
        for process, own in budgets.items()
    )


def _examples(
    found: Run, frozen: Frozen, records: Baseline, read: ReadLog, *, most: int
) -> list[str]:
    """Return the beginnings of the prompts least like training since the first onset."""
    if not most or not read.excerpts:
        return []
    begin = min((one.crossing.onset.start for one in found.crossed), default=None)
    similarity = frozen.compared(records)["similarity"]
    known = ~np.isnan(similarity)
    if begin is not None:
        known &= records.at >= begin.timestamp()
    rows = np.flatnonzero(known)
    lowest = rows[np.argsort(similarity[rows], kind="stable")][:most]
    texts = [read.excerpts.get(float(at)) for at in records.at[lowest]]
    return [text for text in texts if text]
