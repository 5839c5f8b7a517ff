"""Compare a baseline with its training index, possibly made of its own early half."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from detectors.axes import Axes, fit_axes
from detectors.nearest import nearest
from detectors.types import Floats
from monitor.probes.embedding import Embedder, Searcher
from monitor.reference import fitting, similarity, training
from monitor.reference.baseline import Baseline
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.reference.fitting import Rows
from monitor.reference.index import Indexes
from monitor.store.database import Database
from monitor.store.references.references import ReferenceClaim, ReferenceSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparableRecords:
    """The signals of all records, the index's encoder and axes, and notes.

    Without an encoder there is no index; without axes nothing was measured.
    """

    signals: Mapping[str, Floats]
    encoder: str | None
    axes: Axes | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """The comparison of one claimed reference's baseline; ``beat`` reports progress."""

    database: Database
    claim: ReferenceClaim
    embed: Embedder
    indexes: Indexes
    beat: Callable[[], None]

    def with_index(self, baseline: Baseline, encoder: str) -> ComparableRecords:
        """Compare with an existing index, or with one extended by the early half.

        Raises
        ------
        Unbuildable
            There are texts or vectors, but none by the index's encoder.
        """
        usable = fitting.usable(baseline, encoder)
        if self.claim.request.get("append"):
            return self._with_grown_index(baseline, usable, encoder)
        return self._with_other_index(baseline, usable, encoder)

    def with_early_half(self, baseline: Baseline) -> ComparableRecords:
        """Make the index of the baseline's early half, and compare the later half with it."""
        encoder, halves = fitting.early_half(baseline)
        unmeasured = fitting.unmeasured(baseline)
        if encoder is None:
            reason = "no record of the baseline has a text or an embedding"
            return ComparableRecords(signals=unmeasured, encoder=None, notes={"no_index": reason})
        if halves.early.size == 0:
            return ComparableRecords(signals=unmeasured, encoder=None)
        rows = similarity.stack(baseline.vectors, halves.early)
        training.from_rows(self.database, self.claim, rows)
        return self._measured(baseline, halves.held_out, encoder, drop=True)

    def _with_other_index(
        self, baseline: Baseline, usable: Rows, encoder: str
    ) -> ComparableRecords:
        if usable.size == 0:
            fitting.refuse_other_encoders(baseline, encoder, self.embed)
        # an upload's texts were compared line by line; live texts are gone, vectors remain
        drop = self.claim.source is not ReferenceSource.UPLOAD
        return self._measured(baseline, usable, encoder, drop=drop)

    def _with_grown_index(
        self, baseline: Baseline, usable: Rows, encoder: str
    ) -> ComparableRecords:
        """Append the baseline's early half to the copied index, and compare the rest with it.

        So the new normal is near the index, and no record is compared with itself. If too few
        records would remain for a baseline, nothing is appended: the records are then normal by
        their measured similarity, however far from the index.
        """
        halves = similarity.split(baseline, usable, least=SMALLEST_BASELINE)
        if halves.early.size == 0:
            return self._with_other_index(baseline, usable, encoder)
        rows = similarity.stack(baseline.vectors, halves.early)
        training.append_rows(self.database, self.claim, rows)
        measured = self._measured(baseline, halves.held_out, encoder, drop=True)
        return replace(measured, notes={**measured.notes, "appended": len(rows)})

    def _measured(
        self, baseline: Baseline, rows: Rows, encoder: str, *, drop: bool
    ) -> ComparableRecords:
        if rows.size == 0:
            return ComparableRecords(signals=fitting.unmeasured(baseline), encoder=encoder)
        index = self.indexes.open(self.database, self.claim.reference_id)
        axes = fit_axes(index)
        signals, same = fitting.measure(
            baseline,
            rows,
            index,
            axes,
            search=self.embed.nearest if isinstance(self.embed, Searcher) else nearest,
            drop_same_texts=drop,
            beat=self.beat,
        )
        return ComparableRecords(
            signals=signals, encoder=encoder, axes=axes, notes={"same_texts": same}
        )
