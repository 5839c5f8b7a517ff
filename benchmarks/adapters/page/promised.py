"""The plan against the benchmark: what `driftline plan` promises of a fault, and what came.

Of each fault of the plan that the records can show, and offline: from the baseline, as the product
fits it, how soon a fault is told that moves all requests by as much as this one surely did; and
when the evidence of the same records did cross. Of the probe: what the plan of the run said before
the break, and what the probe measured after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from benchmarks.adapters.contestants.experiment import Experiment, Requests
from detectors.entropy import ENTROPY
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.expected_delay import delay_of, growth_of
from detectors.faults import Fault
from detectors.logit_ks import LOGIT_KS
from detectors.prompt_length import PROMPT_LENGTH
from detectors.rank_detector import RankDetector
from detectors.rank_reference import RankReference
from detectors.ranks import mid_ranks
from detectors.smallest_seen import LATE, SHIFTS, movable, stepwise
from detectors.types import SECONDS_PER_DAY, Budget, Floats, Process, State, Window
from monitor.evaluate.faults import families_of

SHARE = 0.1
"""Of the notices accepted of an adapter in 30 days: about what one of its detectors has."""
CHECK_SECONDS = 8.0
PER_CHECK = 8
"""Of a window of the run, at its traffic: `live_interval`, and a request a second."""
_DRAWS = 400


HELD: Final = (LOGIT_KS, ENTROPY, PROMPT_LENGTH)
"""The detectors whose planned faults move all requests and stand in the records of a run."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One kind of fault in one experiment.

    size
        The largest fault of the plan that moves the mean rank of the signal no further than this
        one surely did (the nearer end of the 95 % interval), in sd of the baseline; 0 if it may not
        have moved, or moved the other way. None: too few were measured. Of the probe: the rise of
        the perplexity that it measured, as a share.
    promised
        Whether at least 4 in 5 such faults are told within as many requests as came.
    told
        Broken requests until the detector's evidence crossed, of the probe: all of them; None: it
        did not cross.
    """

    kind: str
    detector: str
    size: float | None
    promised: bool
    told: int | None


def promises(experiment: Experiment) -> tuple[Promise, ...]:
    """Ask the plan for each of its faults, and follow the evidence of the detector."""
    found = []
    for detector in HELD:
        try:
            reference = detector.fit(_window(experiment.baseline, 0, len(experiment.baseline)))
        except (SignalAbsent, ReferenceTooSmall):
            continue
        told = _told(detector, reference, experiment)
        for family in families_of(detector.name, reference):
            if family.fault.share:
                continue
            size, expected = _planned(reference, family.fault, experiment)
            promised = LATE * expected <= len(experiment.live) - experiment.calm
            found.append(Promise(family.words, detector.name, size, promised, told))
    return tuple(found)


def of_the_probe(
    planned: Mapping[str, Any] | None, scores: Sequence[Mapping[str, Any]], *, broken: int
) -> Iterator[Promise]:
    """Hold the plan of the probe against what it measured; nothing where it was not read."""
    measured = [one for one in scores if one["detector"] == "perplexity"]
    if planned is None or not measured or measured[0]["evidence_notice"] is None:
        return
    rise, told = measured[0]["value"], measured[0]["evidence_notice"] >= 0.0
    promised = planned["size"] is not None and rise >= planned["size"]
    yield Promise(planned["fault"], "perplexity", rise, promised, broken if told else None)


def _planned(
    reference: RankReference, fault: Fault, experiment: Experiment
) -> tuple[float | None, float]:
    """Return the size of a fault, and the requests until it is told, as the plan expects."""
    growth = growth_of(reference)
    if growth is None or (moved := movable(reference, growth, fault)) is None:
        return None, np.inf
    usual, known = (
        values[~np.isnan(values)]
        for values in (
            _signals(experiment.baseline)[fault.signal],
            _signals(experiment.live)[fault.signal][experiment.calm :],
        )
    )
    if known.size < PER_CHECK or moved.sd <= 0.0:
        return None, np.inf
    size = size_of(np.sort(usual), known, sd=moved.sd, falls=fault.falls)
    if not size:
        return size, np.inf
    delay = delay_of(
        growth,
        moved.by(size, Process.NOTICE, SHARE),
        Process.NOTICE,
        share=SHARE,
        units_per_day=PER_CHECK * SECONDS_PER_DAY / CHECK_SECONDS,
        check_seconds=CHECK_SECONDS,
    )
    return size, delay.units


def size_of(ordered: Floats, known: Floats, *, sd: float, falls: bool) -> float:
    """Return the size in sd, compared by ranks; ``ordered`` is the baseline, sorted.

    Medians of values with ties leap where hardly anything has moved.
    """
    direction = -1.0 if falls else 1.0
    surely = direction * (_mean_rank(ordered, known, direction) - 0.5)
    seen = stepwise(ordered)

    def rise(size: float) -> float:
        ranks = mid_ranks(ordered, seen(ordered + direction * size * sd))
        return direction * (float(ranks.mean()) - 0.5)

    return max((size for size in SHIFTS if rise(size) <= surely), default=0.0)


def _mean_rank(ordered: Floats, known: Floats, direction: float) -> float:
    """Return the end of its 95 % interval that is nearer to no change, by bootstrap of both."""
    rng = np.random.default_rng(14)
    means = [
        mid_ranks(np.sort(rng.choice(ordered, ordered.size)), rng.choice(known, known.size)).mean()
        for _ in range(_DRAWS)
    ]
    return float(np.quantile(means, 0.025 if direction > 0.0 else 0.975))


def _told(detector: RankDetector, reference: RankReference, experiment: Experiment) -> int | None:
    state, budget = State(), Budget(notice=SHARE, page=0.0)
    begin = datetime.fromisoformat(experiment.at(0)).timestamp()
    start = experiment.calm % PER_CHECK
    for number, first in enumerate(range(start, len(experiment.live), PER_CHECK)):
        last = min(first + PER_CHECK, len(experiment.live))
        window = _window(
            experiment.live, first, last, start=begin + CHECK_SECONDS * number, long=CHECK_SECONDS
        )
        score, state = detector.score(reference, window, state, budget)
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
    each = _signals(requests)
    cut = {name: values[first:last] for name, values in each.items()}
    return Window(start=start, end=end, at=at, signals=cut)


def _signals(requests: Requests) -> Mapping[str, Floats]:
    """Name the columns as the product names its signals."""
    return {
        "mean_nll": requests.column("mean_nll"),
        "p95_nll": requests.column("p95_nll"),
        "near_certain": requests.column("near_certain"),
        "entropy": requests.column("entropy"),
        "margin": requests.column("margin"),
        "log_length": requests.column("log_output_tokens"),
        "prompt_tokens": np.expm1(requests.column("log_prompt_tokens")),
    }
