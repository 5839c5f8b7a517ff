"""Build references: claim one, embed, compare, fit, and put it in force.

Any number of daemons may call :func:`build_next`. Progress is stored in Postgres: if a builder
dies, another takes over when the lease ends, and resumes at the training texts where the first one
stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from detectors.axes import dump_axes
from detectors.day_effect import ASSUMED, DayEffect
from detectors.feedback import FEEDBACK, Directions
from detectors.types import Window
from monitor.capture.refusal import Refuses, refuses
from monitor.capture.shingles import TrainingShingles
from monitor.domain import ReferenceId, Version
from monitor.probes.embedding import Embedder
from monitor.probes.errors import ModelMissing, ProbeError, place_of
from monitor.reference import baseline as baselines
from monitor.reference import fitting, fleet_days, older_feedback, training
from monitor.reference.baseline import ANY_TIME, Baseline
from monitor.reference.calibrate import (
    SMALLEST_BASELINE,
    CalibrationSet,
    calibrate,
    measured_shares,
    span_of,
)
from monitor.reference.comparing import ComparableRecords, Comparing
from monitor.reference.coverage import NOTE, seen_in
from monitor.reference.errors import Unbuildable
from monitor.reference.fitting import KnownAnswers
from monitor.reference.index import Indexes
from monitor.reference.kept import pack
from monitor.store.database import Database
from monitor.store.references import baselines as live
from monitor.store.references import (
    calibrations,
    reference_axes,
    reference_baselines,
    reference_items,
    reference_vectors,
    references,
)
from monitor.store.references.calibrations import Calibration
from monitor.store.references.reference_items import ItemRole
from monitor.store.references.references import (
    FEEDBACK_FROM,
    MAX_CLAIMS,
    MEASURED,
    BuiltReference,
    LeaseLost,
    ReferenceClaim,
    ReferenceSource,
)
from monitor.store.registry import versions

_LOG = structlog.get_logger(__name__)

UNSETTLED: Final = "feedback_unsettled"
"""Key of a note: the number of records whose feedback was dropped as incomplete."""
PROBE_WAIT: Final = timedelta(seconds=30)
"""The wait before retrying a reference whose texts could not be embedded."""
_LINES: Final = 512
_SHARE_BEFORE_FITTING: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """The settings of all references.

    directions
        The feedback to compare, by adapter.
    answers
        True if the answers' texts are embedded.
    refuses
        Detects refusals, as in live records.
    key
        Hashes the beginnings of requests, as in live records.
    settles_after
        Feedback on live records younger than this is dropped.
    days
        The assumed difference between days where neither the baseline nor the fleet has shown it.
    keep_text
        Redacts a training text that is kept, to be shown beside requests; None: none is kept.
    """

    directions: Callable[[str], Directions] = lambda _: Directions()
    answers: bool = False
    refuses: Refuses = refuses
    key: bytes = b""
    settles_after: timedelta = timedelta(0)
    days: DayEffect = ASSUMED
    keep_text: Callable[[str], str] | None = None


def build_next(
    database: Database,
    embed: Embedder,
    *,
    indexes: Indexes,
    settings: BuildSettings = BuildSettings(),
) -> bool:
    """Build the oldest waiting reference; False if none waits.

    A reference fails for good if it cannot be built from its input; it waits while the embedding
    probe is down, with the reason stored as its error.
    """
    claim = database.run(references.claim_building)
    if claim is None:
        return False
    log = _LOG.bind(reference=claim.reference_id, claims=claim.claims)
    try:
        _build(database, claim, embed=embed, indexes=indexes, settings=settings)
        log.info("reference_ready")
    except LeaseLost:
        log.warning("reference_lease_lost")
    except Unbuildable as error:
        log.warning("reference_failed", error=str(error))
        _fail(database, claim, str(error))
    except ProbeError as error:
        log.warning("reference_waits_for_probe", error=str(error))
        _postpone(database, claim, error=str(error), count=False)
    except Exception as error:  # noqa: BLE001 - one reference of many; it is counted
        # a traceback would put texts into the log
        log.error("reference_build_raised", error=place_of(error))  # noqa: TRY400 - see the line above
        _postpone(database, claim, error=f"the builder failed: {place_of(error)}", count=True)
    return True


def _build(
    database: Database,
    claim: ReferenceClaim,
    *,
    embed: Embedder,
    indexes: Indexes,
    settings: BuildSettings,
) -> None:
    if claim.request.get("held"):
        raise Unbuildable("the upload was interrupted; send it again")
    if claim.claims > MAX_CLAIMS:
        raise Unbuildable(f"{MAX_CLAIMS} builders ended without a result")
    version = database.run(lambda tx: versions.fetch_by_id(tx, claim.version_id))
    _Building(
        database, claim, version=version, embed=embed, indexes=indexes, settings=settings
    ).run()


class _Building:
    """The building of one claimed reference."""

    def __init__(
        self,
        database: Database,
        claim: ReferenceClaim,
        *,
        version: Version,
        embed: Embedder,
        indexes: Indexes,
        settings: BuildSettings,
    ) -> None:
        self._database = database
        self._claim = claim
        self._version = version
        self._embed = embed
        self._indexes = indexes
        self._settings = settings
        self._known_answers: KnownAnswers | None = None
        self._notes: dict[str, Any] = {}
        self._encoder: str | None = None
        self._kept = b""
        self._done = 0
        made = database.run(lambda tx: references.details(tx, claim.reference_id)).reference
        self._begun_at = made.created_at
        self._total = max(1, made.n_training + made.n_baseline)

    def run(self) -> None:
        self._indexes.forget(self._claim.reference_id)
        self._encoder = self._encoder_before_baseline()
        baseline, strata = self._baseline()
        compared = self._compared(baseline)
        self._known_answers, said = fitting.early_answers(baseline)
        self._report(self._total)
        window = baseline.window(
            {**compared.signals, **said}, self._settings.directions(self._version.adapter)
        )
        self._kept = pack(window)
        self._notes |= {
            **compared.notes,
            NOTE: seen_in(window.at),
            MEASURED: measured_shares(
                window, embedded=_share(baseline.vectors), answered=_share(baseline.answers)
            ),
        }
        made = self._with_feedback(self._calibrated(window))
        self._finish(made, compared, strata=strata, span=span_of(window))

    def _calibrated(self, window: Window) -> CalibrationSet:
        adapter, assumed = self._version.adapter_id, self._settings.days
        days = self._database.run(lambda tx: fleet_days.read(tx, besides=adapter, assumed=assumed))
        made = calibrate(window, days=days)
        self._notes[fleet_days.NOTE] = made.shown_days
        return made

    def _encoder_before_baseline(self) -> str | None:
        """Make the training index; None if the baseline itself must provide it."""
        taken = self._claim.request.get("training")
        if taken is not None:
            return training.copied(self._database, self._claim, source=ReferenceId(int(taken)))
        if self._claim.source is not ReferenceSource.UPLOAD:
            return None
        return training.from_items(
            self._database,
            self._claim,
            version=self._version,
            embed=self._embed,
            horizon=ANY_TIME,
            report=self._report,
            key=self._settings.key,
            keep_text=self._settings.keep_text,
        )

    def _compared(self, baseline: Baseline) -> ComparableRecords:
        comparing = Comparing(
            database=self._database,
            claim=self._claim,
            embed=self._embed,
            indexes=self._indexes,
            beat=lambda: self._report(self._done),
        )
        if self._encoder is None:
            return comparing.with_early_half(baseline)
        return comparing.with_index(baseline, self._encoder)

    def _baseline(self) -> tuple[Baseline, tuple[str, ...]]:
        uploaded = self._claim.source is ReferenceSource.UPLOAD
        whole = self._staged() if uploaded else self._live()
        kept, strata = fitting.comparable(whole)
        self._notes["other_strata"] = len(whole) - len(kept)
        return kept, strata

    def _staged(self) -> Baseline:
        parts: list[Baseline] = []
        hashes = self._database.run(
            lambda tx: reference_vectors.shingles(tx, self._claim.reference_id)
        )
        learned = TrainingShingles(hashes, key=self._settings.key) if hashes else None
        after, done = 0, self._done
        while items := self._database.run(
            lambda tx, after=after: reference_items.read(  # type: ignore[misc]  # a default argument
                tx, self._claim, role=ItemRole.BASELINE, after=after, limit=_LINES
            )
        ):
            part = baselines.from_items(
                items,
                version=self._version,
                key=self._settings.key,
                refuses=self._settings.refuses,
                training=learned,
            )
            parts.append(self._answered(self._embedded(part)))
            after, done = items[-1].seq, done + len(items)
            self._report(done)
        if not parts:
            raise Unbuildable(f"no baseline records; at least {SMALLEST_BASELINE} are needed")
        return baselines.concatenate(parts)

    def _live(self) -> Baseline:
        start, end = (datetime.fromisoformat(self._claim.request[key]) for key in ("start", "end"))
        read = self._database.run(
            lambda tx: live.read(
                tx,
                version_id=self._version.id,
                adapter_id=self._version.adapter_id,
                start=start,
                end=end,
            )
        )
        settled = min(end, self._begun_at - self._settings.settles_after)
        self._notes[FEEDBACK_FROM] = settled.isoformat()
        whole = baselines.from_live(read)
        kept = baselines.settled(whole, before=settled)
        self._notes[UNSETTLED] = sum(map(bool, whole.feedback)) - sum(map(bool, kept.feedback))
        return kept

    def _embedded(self, part: Baseline) -> Baseline:
        """Embed prompts, unless their vectors could not be compared with the index."""
        # reading the encoder's name loads its model, which a service may lack
        if not fitting.without_vectors(part) or self._encoder not in (None, self._embed.encoder):
            return part
        return fitting.with_vectors(part, self._embed)

    def _answered(self, part: Baseline) -> Baseline:
        """Embed answers, if the service has a model for it."""
        if not self._settings.answers:
            return fitting.without_texts(part)
        try:
            return fitting.with_answers(part, self._embed)
        except ModelMissing as error:
            self._notes["no_answers"] = str(error)
            return fitting.without_texts(part)

    def _with_feedback(self, made: CalibrationSet) -> CalibrationSet:
        """If the baseline has no feedback, reuse an older one, or explain what was dropped."""
        if made.calibrations[FEEDBACK.name].body is not None:
            return made
        source = self._claim.request.get("feedback")
        older = source and self._database.run(lambda tx: older_feedback.read(tx, source))
        if not older:
            return self._explained(made)
        self._notes |= older.notes
        told = {FEEDBACK.name: older.calibration}
        bins = {**made.bins, **older.bins}
        return replace(made, calibrations=made.calibrations | told, bins=bins)

    def _explained(self, made: CalibrationSet) -> CalibrationSet:
        """Explain missing feedback that was dropped as incomplete."""
        unsettled = self._notes.get(UNSETTLED, 0)
        if not unsettled:
            return made
        since = datetime.fromisoformat(self._notes[FEEDBACK_FROM])
        reason = (
            f"what is said of {unsettled:,} records since {since:%Y-%m-%d %H:%M} UTC was not"
            " complete (detectors.feedback.settles_after): freeze the reference anew later"
        )
        told = {FEEDBACK.name: Calibration(body=None, absent_reason=reason)}
        return replace(made, calibrations=made.calibrations | told)

    def _finish(
        self,
        made: CalibrationSet,
        compared: ComparableRecords,
        *,
        strata: tuple[str, ...],
        span: Any,
    ) -> None:
        claim = self._claim
        rows = 0
        if compared.encoder is not None:
            rows = len(self._indexes.open(self._database, claim.reference_id))
            self._notes["index_sha256"] = self._indexes.checksum(claim.reference_id)
        outcome = BuiltReference(
            n_training=rows,
            n_baseline=span.records,
            span_days=span.days,
            encoder=compared.encoder,
            strata=strata,
            hourly_rate=span.hourly_rate,
            approved_by=span.approved_by,
            notes=self._notes,
        )

        def write(tx: Any) -> None:
            references.ready(tx, claim, outcome)
            reference_baselines.insert(
                tx, claim.reference_id, version_id=claim.version_id, body=self._kept
            )
            if compared.axes is not None and compared.encoder is not None:
                encoder, body = compared.encoder, dump_axes(compared.axes)
                reference_axes.insert(tx, claim.reference_id, encoder=encoder, body=body)
            if self._known_answers is not None:
                body = dump_axes(self._known_answers.axes)
                encoder = self._known_answers.encoder
                reference_axes.insert_answers(tx, claim.reference_id, encoder=encoder, body=body)
            calibrations.insert(
                tx, claim.reference_id, calibrations=made.calibrations, bins=made.bins
            )

        self._database.run(write)

    def _report(self, done: int) -> None:
        self._done = done
        share = _SHARE_BEFORE_FITTING * min(1.0, done / self._total)
        self._database.run(lambda tx: references.progress(tx, self._claim, share=share))


def _share(given: Sequence[bytes | None]) -> float:
    return sum(one is not None for one in given) / len(given)


def _fail(database: Database, claim: ReferenceClaim, error: str) -> None:
    try:
        database.run(lambda tx: references.failed(tx, claim, error=error))
    except LeaseLost:
        _LOG.warning("reference_lease_lost", reference=claim.reference_id)


def _postpone(database: Database, claim: ReferenceClaim, *, error: str, count: bool) -> None:
    try:
        database.run(
            lambda tx: references.postpone(tx, claim, error=error, wait=PROBE_WAIT, count=count)
        )
    except LeaseLost:
        _LOG.warning("reference_lease_lost", reference=claim.reference_id)
