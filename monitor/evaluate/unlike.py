"""How many requests are unlike training, for what is told about drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import scipy
from sqlalchemy import Connection

from alerts.message import Unlike
from detectors.input_similarity import TOPICS
from detectors.rank_reference import RankReference
from monitor.policy import Judgement
from monitor.store import embeddings

if TYPE_CHECKING:
    from monitor.evaluate.commit import Outcome

DETECTOR: Final = "input_similarity"
SIGNAL: Final = "similarity"
USUAL: Final = 0.01
"""Unlike training is what only this share of the baseline's requests was."""


def unlike_training(tx: Connection, outcome: Outcome, judgement: Judgement) -> Unlike | None:
    """Count the requests since the onset; None where nothing drifts.

    Where it is not their similarity that does, but answers or the mix of known topics, None too
    unless there are surely more than usual: answers often show new questions first, and the
    usual few would be told as news.
    """
    calibrated = outcome.reading.calibrated
    if calibrated is None or not judgement.verdict.detectors:
        return None
    reference = calibrated.by_detector.get(DETECTOR)
    # crossed before a re-freeze that measured no similarity, or by coordinates alone
    if reference is None or SIGNAL not in reference.signals:
        return None
    below = unlike_below(reference)
    onset = judgement.verdict.onset
    count, compared = embeddings.count_below(
        tx,
        version_id=outcome.reading.version.id,
        adapter_id=outcome.reading.version.adapter_id,
        start=onset.start if onset else outcome.window.start,
        end=outcome.window.end,
        reference_id=calibrated.reference.id,
        similarity=below,
    )
    if not _by_similarity(judgement) and not _surely_more(count, compared):
        return None
    return Unlike(count=count, of=compared, below=below, usual=USUAL)


def _by_similarity(judgement: Judgement) -> bool:
    """Whether the inputs have drifted, and not by coordinates of the embedding alone."""
    won = [c.winner.partition(":")[0] for c in judgement.memory.crossings if c.detector == DETECTOR]
    by_topics = bool(won) and not set(won) - set(TOPICS)
    return DETECTOR in judgement.verdict.detectors and not by_topics


def _surely_more(count: int, of: int) -> bool:
    """Whether the lower 95 % limit of the share (Clopper-Pearson) is above the usual one."""
    return count > 0 and float(scipy.special.betaincinv(count, of - count + 1, 0.025)) > USUAL


def unlike_below(reference: RankReference, *, share: float = USUAL) -> float:
    """Similarity that this share of the baseline's requests does not reach."""
    ordered = reference.ordered[reference.signals.index(SIGNAL)]
    return float(np.quantile(ordered, share))
