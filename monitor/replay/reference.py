"""A reference fitted in memory, by the steps that the service's builder takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from detectors.axes import Axes, fit_axes
from detectors.feedback import Directions
from detectors.types import Floats
from monitor.domain import Reference, ReferenceId, ReferenceState, VersionId
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.loading import unpacked
from monitor.probes.embedding import Embedder
from monitor.reference import fitting, similarity
from monitor.reference.baseline import Baseline
from monitor.reference.calibrate import calibrate, span_of
from monitor.reference.errors import Unbuildable
from monitor.reference.fitting import KnownAnswers
from monitor.replay.errors import ReplayFailed
from monitor.replay.log import Log
from monitor.replay.training import Index, Training

APPROVED_BY_HAND = "you, for this replay"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frozen:
    """A reference in force, with the index with which prompts are compared.

    ``held_out`` is true where the index is the early half of the baseline itself.
    """

    calibrated: Calibrated
    index: Index | None
    axes: Axes | None
    encoder: str | None
    held_out: bool
    directions: Directions
    answers: KnownAnswers | None
    n_other_strata: int

    def log_of(self, records: Baseline) -> Log:
        """Compare records with the index, and mark those with other settings."""
        signals = self.compared(records) | records.said(self.directions)
        signals |= fitting.placed_answers(records, self.answers)
        return Log.of(records, signals, self.calibrated.reference.strata)

    def compared(self, records: Baseline) -> dict[str, Floats]:
        """Return similarity to training and coordinates, ``(n,)`` each, NaN where absent."""
        rows = fitting.usable(records, self.encoder)
        if self.index is None or rows.size == 0:
            return fitting.unmeasured(records)
        laid, _ = fitting.measure(records, rows, self.index, self.axes, drop_same_texts=False)
        return laid


def freeze(
    records: Baseline,
    training: Training | None,
    *,
    embed: Embedder | None,
    approve: bool,
    in_training: bool,
    now: datetime,
    version_id: VersionId,
    directions: Directions,
) -> Frozen:
    """Fit every detector on a baseline.

    Parameters
    ----------
    training
        Its index; None takes the early half of the baseline, as the service does.
    in_training
        Whether the baseline may hold training texts: these are then not measured.
    directions
        Which feedback is compared.
    approve
        Treat a reference as approved that its coverage would leave provisional.

    Raises
    ------
    ReplayFailed
        Too few records, mixed encoders, or no signal that a detector can use.
    """
    try:
        kept, strata = fitting.comparable(records)
        index, axes, encoder, measured = _against(kept, training, embed, drop=in_training)
        answers, said = fitting.early_answers(kept)
        window = kept.window(measured | said, directions)
        made, span = calibrate(window), span_of(window)
    except Unbuildable as error:
        raise ReplayFailed(f"the baseline: {error}") from error
    reference = Reference(
        id=ReferenceId(1),
        version_id=version_id,
        generation=1,
        state=ReferenceState.READY,
        approved_by=span.approved_by or (APPROVED_BY_HAND if approve else None),
        cause="replay",
        n_training=0 if index is None else len(index),
        n_baseline=span.records,
        span_days=span.days,
        encoder=encoder,
        strata=strata,
        created_at=now,
        ready_at=datetime.fromtimestamp(window.end, tz=UTC),
    )
    return Frozen(
        calibrated=unpacked(reference, made.calibrations, hourly_rate=span.hourly_rate),
        index=index,
        axes=axes,
        encoder=encoder,
        held_out=training is None and index is not None,
        directions=directions,
        answers=answers,
        n_other_strata=len(records) - len(kept),
    )


def _against(
    kept: Baseline, training: Training | None, embed: Embedder | None, *, drop: bool
) -> tuple[Index | None, Axes | None, str | None, dict[str, Floats]]:
    unmeasured = fitting.unmeasured(kept)
    if training is not None:
        rows = fitting.usable(kept, training.encoder)
        if rows.size == 0 and embed is not None:
            fitting.refuse_other_encoders(kept, training.encoder, embed)
        if rows.size == 0:
            return training.index, None, training.encoder, unmeasured
        axes = fit_axes(training.index)
        measured, _ = fitting.measure(kept, rows, training.index, axes, drop_same_texts=drop)
        return training.index, axes, training.encoder, measured
    encoder, halves = fitting.early_half(kept)
    if encoder is None or halves.early.size == 0:
        return None, None, None, unmeasured
    index = similarity.stack(kept.vectors, halves.early)
    if halves.held_out.size == 0:
        return index, None, encoder, unmeasured
    axes = fit_axes(index)
    measured, _ = fitting.measure(kept, halves.held_out, index, axes, drop_same_texts=True)
    return index, axes, encoder, measured
