"""Prepare a baseline for fitting: the steps of every build. Pure.

A build in the service and a replay of a log call the same functions; they differ in where records
and indexes are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.axes import Axes, coordinates, fit_axes
from detectors.nearest import nearest
from detectors.output_similarity import place_answers
from detectors.signals import ANSWERS, SIMILARITY, TOPICS
from detectors.types import Floats
from monitor.probes.embedding import Embedder
from monitor.reference import similarity
from monitor.reference.baseline import Baseline, answered, common_encoder, common_strata, embedded
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.reference.errors import Unbuildable
from monitor.reference.similarity import Halves, Search

Rows = npt.NDArray[np.int64]


def comparable(whole: Baseline) -> tuple[Baseline, tuple[str, ...]]:
    """Keep the records of common settings, and name these settings.

    Raises
    ------
    Unbuildable
        There are fewer than 300 of them.
    """
    if len(whole) == 0:
        raise Unbuildable(f"no baseline records; at least {SMALLEST_BASELINE} are needed")
    kept, strata = common_strata(whole)
    if len(kept) < SMALLEST_BASELINE:
        raise Unbuildable(
            f"{len(kept)} baseline records of common settings ({len(whole)} in all);"
            f" at least {SMALLEST_BASELINE} are needed"
        )
    return kept, strata


def without_vectors(part: Baseline) -> list[int]:
    """Return the rows whose prompts have no embedding."""
    return [i for i, prompt in enumerate(part.prompts) if prompt and part.vectors[i] is None]


def with_vectors(part: Baseline, embed: Embedder) -> Baseline:
    """Embed the prompts that have no embedding."""
    rows = without_vectors(part)
    if not rows:
        return part
    made = embed.embed([part.prompts[i] or "" for i in rows]).astype("<f2")
    vectors = [vector.tobytes() for vector in made]
    return embedded(part, rows, vectors, encoder=embed.encoder)


def usable(baseline: Baseline, encoder: str | None) -> Rows:
    """Return the rows whose vectors this encoder made."""
    return _made_by(baseline.encoders, encoder)


def early_half(baseline: Baseline) -> tuple[str | None, Halves]:
    """Split the rows of the commonest encoder: an index of the early half, the rest held out.

    The encoder is None if no record has a vector.
    """
    encoder = common_encoder(baseline.encoders)
    return encoder, similarity.split(baseline, usable(baseline, encoder))


def refuse_other_encoders(baseline: Baseline, encoder: str | None, embed: Embedder) -> None:
    """Raise Unbuildable if there are texts or vectors, but none by the index's encoder."""
    others = sorted({one for one in baseline.encoders if one})
    if any(baseline.prompts):
        others.append(embed.encoder)
    if others:
        raise Unbuildable(
            f"the training index was made by {encoder!r}, the baseline's"
            f" embeddings by {', '.join(map(repr, others))}: use one encoder for both"
        )


def measure(
    baseline: Baseline,
    rows: Rows,
    index: npt.NDArray[np.float16],
    axes: Axes | None,
    *,
    search: Search = nearest,
    drop_same_texts: bool,
    beat: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Floats], int]:
    """Compare some rows with an index and its axes; return all signals and the texts dropped.

    A signal is NaN for all other rows. Dropped texts keep their coordinates: live traffic
    repeats training texts too, and without them its mix would differ from the baseline's.
    ``beat`` is called after each block of 2,048; see :func:`similarity.column` for
    ``drop_same_texts``. Raises Unbuildable if the lengths of vectors differ.
    """
    vectors = similarity.stack(baseline.vectors, rows)
    if vectors.shape[1] != index.shape[1]:
        raise Unbuildable(
            f"baseline embeddings have {vectors.shape[1]} numbers,"
            f" the training index {index.shape[1]}"
        )
    found: list[Floats] = []
    for block in similarity.similarities(index, vectors, search=search):
        found.append(block)
        beat()
    laid, same = similarity.column(
        len(baseline), rows, np.concatenate(found), drop_same_texts=drop_same_texts
    )
    signals = {SIMILARITY: laid}
    if axes is not None:
        placed = np.full((len(baseline), len(TOPICS)), np.nan)
        placed[rows] = coordinates(axes, vectors)
        signals |= dict(zip(TOPICS, placed.T, strict=True))
    return signals, same


def with_answers(part: Baseline, embed: Embedder) -> Baseline:
    """Embed the answers whose texts are there."""
    rows = [i for i, said in enumerate(part.outputs) if said and part.answers[i] is None]
    if not rows:
        return part
    made = embed.embed([part.outputs[i] or "" for i in rows]).astype("<f2")
    return answered(part, rows, [vector.tobytes() for vector in made], encoder=embed.encoder)


def without_texts(part: Baseline) -> Baseline:
    """Drop the texts of answers that will not be embedded."""
    return answered(part, [], [], encoder="")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownAnswers:
    """The axes of a baseline's early answers, and their encoder."""

    axes: Axes
    encoder: str


def early_answers(baseline: Baseline) -> tuple[KnownAnswers | None, dict[str, Floats]]:
    """Fit axes on the early half of the answers and place the later half along them.

    The split is by time alone: subjects return in live traffic too, and a dozen directions do not
    memorise anybody. None, and no signal, if there are too few to hold any out.
    """
    encoder = common_encoder(baseline.answered_by)
    rows = _made_by(baseline.answered_by, encoder)
    early, later = rows[: rows.size // 2], rows[rows.size // 2 :]
    if encoder is None or early.size == 0:
        return None, {}
    known = KnownAnswers(axes=fit_axes(similarity.stack(baseline.answers, early)), encoder=encoder)
    return known, _placed(baseline, later, known)


def placed_answers(baseline: Baseline, known: KnownAnswers | None) -> dict[str, Floats]:
    """Place all answers of the same encoder; nothing is measured without known axes."""
    rows = _made_by(baseline.answered_by, None if known is None else known.encoder)
    return {} if known is None else _placed(baseline, rows, known)


def _placed(baseline: Baseline, rows: Rows, known: KnownAnswers) -> dict[str, Floats]:
    signals = np.full((len(baseline), len(ANSWERS)), np.nan)
    if rows.size:
        signals[rows] = place_answers(known.axes, similarity.stack(baseline.answers, rows))
    return dict(zip(ANSWERS, signals.T, strict=True))


def _made_by(encoders: Sequence[str | None], encoder: str | None) -> Rows:
    return np.flatnonzero([one == encoder and one is not None for one in encoders])


def unmeasured(baseline: Baseline) -> dict[str, Floats]:
    """Return the signals of a baseline that cannot be compared with an index."""
    return {SIMILARITY: np.full(len(baseline), np.nan)}
