"""The plan against the benchmark: what `driftline plan` promises of a fault, and what came.

By `logit_ks` alone and offline: from the baseline, as the product fits it, how soon a fault is told
that makes all answers less certain (or more) by as much as this one did; and when the evidence of
the same records did cross. Probes take no part, so neither is what Driftline did in the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from benchmarks.adapters.contestants.experiment import Experiment, Requests
from detectors.expected_delay import delay_of, growth_of
from detectors.faults import Fault
from detectors.logit_ks import LOGIT_KS
from detectors.rank_reference import RankReference
from detectors.smallest_seen import LATE, movable
from detectors.types import SECONDS_PER_DAY, Budget, Process, State, Window

SHARE = 0.1
"""Of the notices accepted of an adapter in 30 days: about what one of its detectors has."""
CHECK_SECONDS = 3.0
PER_CHECK = 15
"""Of a window of the run, at its traffic."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One experiment.

    shift
        Of the mean NLL of answers, in sd of the baseline; None: too few were measured.
    promised
        Whether at least 4 in 5 such faults are told within as many requests as came.
    told
        Broken requests until the evidence crossed; None: it did not.
    """

    shift: float | None
    promised: bool
    told: int | None


def promise(experiment: Experiment) -> Promise:
    """Ask the plan, and follow the evidence."""
    reference = LOGIT_KS.fit(_window(experiment.baseline, 0, len(experiment.baseline)))
    broken = len(experiment.live) - experiment.calm
    shift = _shift(reference, experiment)
    expected = _expected(reference, shift)
    return Promise(shift, LATE * expected <= broken, _told(reference, experiment))


def _shift(reference: RankReference, experiment: Experiment) -> float | None:
    growth = growth_of(reference)
    known = experiment.live.column("mean_nll")[experiment.calm :]
    known = known[~np.isnan(known)]
    if growth is None or known.size < PER_CHECK:
        return None
    moved = movable(reference, growth, Fault(signal="mean_nll"))
    usual = experiment.baseline.column("mean_nll")
    if moved is None or moved.sd <= 0.0:
        return None
    return round(float(np.median(known) - np.nanmedian(usual)) / moved.sd, 3)


def _expected(reference: RankReference, shift: float | None) -> float:
    """Requests until a shift is told, as the plan expects; inf where it is not."""
    growth = growth_of(reference)
    if growth is None or shift is None:
        return np.inf
    moved = movable(reference, growth, Fault(signal="mean_nll", falls=shift < 0.0))
    if moved is None:
        return np.inf
    return delay_of(
        growth,
        moved.by(abs(shift), Process.NOTICE, SHARE),
        Process.NOTICE,
        share=SHARE,
        units_per_day=PER_CHECK * SECONDS_PER_DAY / CHECK_SECONDS,
        check_seconds=CHECK_SECONDS,
    ).units


def _told(reference: RankReference, experiment: Experiment) -> int | None:
    state, budget = State(), Budget(notice=SHARE, page=0.0)
    begin = datetime.fromisoformat(experiment.at(0)).timestamp()
    start = experiment.calm % PER_CHECK
    for number, first in enumerate(range(start, len(experiment.live), PER_CHECK)):
        last = min(first + PER_CHECK, len(experiment.live))
        window = _window(
            experiment.live, first, last, start=begin + CHECK_SECONDS * number, long=CHECK_SECONDS
        )
        score, state = LOGIT_KS.score(reference, window, state, budget)
        if score.evidence_notice >= 0.0 and last > experiment.calm:
            return last - experiment.calm
    return None


def _window(
    requests: Requests,
    first: int,
    last: int,
    *,
    start: float | None = None,
    long: float | None = None,
) -> Window:
    """Cut records out; live ones are laid evenly into a window of their own."""
    if start is None or long is None:
        at = np.array([datetime.fromisoformat(one).timestamp() for one in requests.at[first:last]])
        start, end = float(at.min()), float(at.max()) + 1.0
    else:
        at = start + long * (np.arange(last - first) + 0.5) / (last - first)
        end = start + long
    signals = {
        "mean_nll": requests.column("mean_nll")[first:last],
        "p95_nll": requests.column("p95_nll")[first:last],
        "near_certain": requests.column("near_certain")[first:last],
        "log_length": requests.column("log_output_tokens")[first:last],
    }
    return Window(start=start, end=end, at=at, signals=signals)
