"""A reference's baseline as columns, from any source. Pure but for its source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.feedback import Directions
from detectors.types import Floats, Window
from monitor.capture.assemble import Admitted, KeptFields, assemble, stratum_of
from monitor.capture.checks import Horizon, clean, legible, tokens_of
from monitor.capture.directory import Resolved
from monitor.capture.refusal import Refuses, refuses
from monitor.capture.shingles import TrainingShingles
from monitor.domain import Version
from monitor.reference.lines import BaselineLine, read_line
from monitor.store.records.columns import COMPARED, MEASURED, SIGNALS, derived
from monitor.store.references.baselines import LiveBaseline
from monitor.store.references.reference_items import Item

ANSWER: Final = 4_096
"""Characters of an answer that are embedded: encoders read fewer."""
SMALLEST_STRATUM: Final = 0.01
"""Settings with a smaller share of the baseline's records are not compared."""
ANY_TIME: Final = Horizon(now=datetime(9999, 1, 1, tzinfo=UTC), retention=timedelta.max)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """Records in time order; every sequence has one entry per record.

    ``subjects`` are integer codes, -1 if none was given. ``vectors`` are float16 bytes of unit
    length made by ``encoders``; a record with a ``prompt`` has yet to be embedded. ``feedback``
    holds each record's feedback, by name. ``answers`` are vectors of the answers' texts by
    ``answered_by``; those with ``outputs`` have yet to be embedded.
    """

    at: Floats
    subjects: npt.NDArray[np.int64] | None
    signals: Mapping[str, Floats]
    strata: Sequence[str]
    prompts: Sequence[str | None]
    encoders: Sequence[str | None]
    vectors: Sequence[bytes | None]
    feedback: Sequence[Mapping[str, float]]
    outputs: Sequence[str | None]
    answered_by: Sequence[str | None]
    answers: Sequence[bytes | None]

    def __len__(self) -> int:
        return int(self.at.size)

    def take(self, rows: npt.NDArray[np.int64]) -> Baseline:
        """Return some rows, in the order given."""
        places = rows.tolist()
        return Baseline(
            at=self.at[rows],
            subjects=None if self.subjects is None else self.subjects[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
            strata=[self.strata[i] for i in places],
            prompts=[self.prompts[i] for i in places],
            encoders=[self.encoders[i] for i in places],
            vectors=[self.vectors[i] for i in places],
            feedback=[self.feedback[i] for i in places],
            outputs=[self.outputs[i] for i in places],
            answered_by=[self.answered_by[i] for i in places],
            answers=[self.answers[i] for i in places],
        )

    def said(self, directions: Directions) -> dict[str, Floats]:
        """Return the signals ``(n,)`` of the compared feedback."""
        return {
            signal: np.array([given.get(name, np.nan) for given in self.feedback], dtype=float)
            for name, signal in directions.signals.items()
        }

    def window(self, compared: Mapping[str, Floats], directions: Directions) -> Window:
        """Return the window that detectors are fitted on; ``compared`` comes from the index."""
        return Window(
            start=float(self.at[0]),
            end=float(np.nextafter(self.at[-1], np.inf)),
            at=self.at,
            signals={**self.signals, **compared, **self.said(directions)},
            subjects=self.subjects,
        )


def from_live(live: LiveBaseline) -> Baseline:
    """Convert live records, which have embeddings but no texts."""
    columns = live.columns
    return Baseline(
        at=columns.at,
        subjects=columns.subjects,
        signals={name: columns.signals[name] for name in SIGNALS if name not in COMPARED},
        strata=live.strata,
        prompts=[None] * len(columns),
        encoders=live.encoders,
        vectors=live.vectors,
        feedback=live.feedback,
        outputs=[None] * len(columns),
        answered_by=live.answered_by,
        answers=live.answers,
    )


def from_items(
    items: Sequence[Item],
    *,
    version: Version,
    key: bytes,
    refuses: Refuses = refuses,
    training: TrainingShingles | None = None,
) -> Baseline:
    """Measure the signals of staged lines, exactly as for live records.

    ``training`` are the training texts that answers may repeat.
    """
    lines = [_line(item, version) for item in items]
    admitted = [
        Admitted(
            record=line.record,
            resolved=Resolved(version.adapter_id, version.id, None),
            sample_prob=1.0,
            tokens=tokens_of(line.record),
            embedding=line.vector,
        )
        for line in lines
    ]
    return from_admitted(
        admitted, [item.subject for item in items], key=key, refuses=refuses, training=training
    )


def from_admitted(
    admitted: Sequence[Admitted],
    subjects: Sequence[bytes | None],
    *,
    key: bytes = b"",
    refuses: Refuses = refuses,
    training: TrainingShingles | None = None,
) -> Baseline:
    """Measure the signals of checked records; ``subjects`` are their keyed hashes.

    ``key`` hashes the beginnings of requests: compare only with records hashed with the same.
    """
    keeping = replace(_NOTHING, refuses=refuses, subject_key=key, training_of=lambda _: training)
    batch = assemble(admitted, [0] * len(admitted), keeping=keeping, now=ANY_TIME.now)
    records = [one.record for one in admitted]
    vectors = [one.embedding for one in admitted]
    baseline = Baseline(
        at=batch.at.astype(np.float64) / 1e6,
        subjects=_codes(subjects),
        signals=_signals(batch.numbers),
        strata=[stratum_of(record) for record in records],
        prompts=[legible(r.prompt) or None for r in records],
        encoders=[r.encoder if v else None for r, v in zip(records, vectors, strict=True)],
        vectors=vectors,
        feedback=[record.feedback or {} for record in records],
        outputs=[clean(r.output[:ANSWER]) if r.output else None for r in records],
        answered_by=[None] * len(records),
        answers=[None] * len(records),
    )
    return baseline.take(np.argsort(baseline.at, kind="stable"))


def concatenate(parts: Sequence[Baseline]) -> Baseline:
    """Join parts in time order."""
    joined = Baseline(
        at=np.concatenate([part.at for part in parts]),
        subjects=_joined_subjects(parts),
        signals={
            name: np.concatenate([part.signals[name] for part in parts])
            for name in parts[0].signals
        },
        strata=[one for part in parts for one in part.strata],
        prompts=[one for part in parts for one in part.prompts],
        encoders=[one for part in parts for one in part.encoders],
        vectors=[one for part in parts for one in part.vectors],
        feedback=[one for part in parts for one in part.feedback],
        outputs=[one for part in parts for one in part.outputs],
        answered_by=[one for part in parts for one in part.answered_by],
        answers=[one for part in parts for one in part.answers],
    )
    return joined.take(np.argsort(joined.at, kind="stable"))


def settled(baseline: Baseline, *, before: datetime) -> Baseline:
    """Drop the feedback on records made at or after a time, since it is incomplete.

    Only quick feedback is there so far, and complaints take longer than praise.
    """
    known = (baseline.at < before.timestamp()).tolist()
    said = zip(baseline.feedback, known, strict=True)
    return replace(baseline, feedback=[given if is_known else {} for given, is_known in said])


def common_strata(baseline: Baseline) -> tuple[Baseline, tuple[str, ...]]:
    """Keep the records of common settings; name these settings, the most frequent first."""
    common = common_settings(Counter(baseline.strata))
    rows = np.flatnonzero([stratum in common for stratum in baseline.strata])
    return baseline.take(rows), common


def common_settings(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the settings common enough for a baseline, the most frequent first."""
    needed = SMALLEST_STRATUM * sum(counts.values())
    return tuple(one for one, count in Counter(counts).most_common() if count >= needed)


def embedded(
    baseline: Baseline, rows: Sequence[int], vectors: Sequence[bytes], *, encoder: str
) -> Baseline:
    """Set the vectors of some prompts, and drop the prompts."""
    filled, prompts = list(baseline.vectors), list(baseline.prompts)
    encoders = list(baseline.encoders)
    for row, vector in zip(rows, vectors, strict=True):
        filled[row], prompts[row], encoders[row] = vector, None, encoder
    return replace(baseline, vectors=filled, prompts=prompts, encoders=encoders)


def answered(
    baseline: Baseline, rows: Sequence[int], vectors: Sequence[bytes], *, encoder: str
) -> Baseline:
    """Set the vectors of some answers, and drop all answers' texts."""
    filled, encoders = list(baseline.answers), list(baseline.answered_by)
    for row, vector in zip(rows, vectors, strict=True):
        filled[row], encoders[row] = vector, encoder
    outputs = [None] * len(baseline)
    return replace(baseline, answers=filled, outputs=outputs, answered_by=encoders)


def common_encoder(encoders: Sequence[str | None]) -> str | None:
    """Return the encoder of most vectors; None if there are none."""
    counts = Counter(encoder for encoder in encoders if encoder)
    return counts.most_common(1)[0][0] if counts else None


_NOTHING: Final = KeptFields(subject_key=b"", prompts=False, outputs=False, tokens_for=timedelta())


def _line(item: Item, version: Version) -> BaselineLine:
    line = read_line(item.body, adapter=version.adapter, version=version.name, horizon=ANY_TIME)
    if not isinstance(line, BaselineLine):
        raise TypeError(f"line {item.seq} was staged as baseline and is none")
    return line


def _signals(numbers: Mapping[str, Floats]) -> dict[str, Floats]:
    # live records are stored as float4: unrounded values would never tie with them
    signals = {name: numbers[name].astype(np.float32).astype(np.float64) for name in MEASURED}
    return signals | derived(signals, status=numbers["status"])


def _codes(subjects: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    return np.array(
        [-1 if one is None else int.from_bytes(one, "big") >> 1 for one in subjects], dtype=np.int64
    )


def _joined_subjects(parts: Sequence[Baseline]) -> npt.NDArray[np.int64] | None:
    known = [part.subjects for part in parts if part.subjects is not None]
    if len(known) < len(parts):
        return None
    joined = np.concatenate(known)
    return joined if (joined >= 0).any() else None
