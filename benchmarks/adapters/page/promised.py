"""The plan against the benchmark: what `driftline plan` promises of a fault, and what came.

Of each kind of fault that the records can show, and offline: from the baseline, as the product fits
it, how soon a fault is told that moves all requests by as much as this one surely did; and when the
evidence of the same records did cross. Probes take no part, so neither is what Driftline did in the
run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from benchmarks.adapters.contestants.experiment import Experiment, Floats, Requests
from detectors.entropy import ENTROPY
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.expected_delay import delay_of, growth_of
from detectors.faults import Fault
from detectors.logit_ks import LOGIT_KS
from detectors.prompt_length import PROMPT_LENGTH
from detectors.rank_detector import RankDetector
from detectors.rank_reference import RankReference
from detectors.smallest_seen import LATE, movable
from detectors.types import SECONDS_PER_DAY, Budget, Process, State, Window

SHARE = 0.1
"""Of the notices accepted of an adapter in 30 days: about what one of its detectors has."""
CHECK_SECONDS = 8.0
PER_CHECK = 8
"""Of a window of the run, at its traffic: `live_interval`, and a request a second."""
_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault of the plan: the signal that moves, and the detector that looks at it."""

    words: str
    detector: RankDetector
    signal: str


KINDS: Final[Sequence[Kind]] = (
    Kind("answers less or more certain", LOGIT_KS, "mean_nll"),
    Kind("answers shorter or longer", LOGIT_KS, "log_length"),
    Kind("answers more or less diffuse", ENTROPY, "entropy"),
    Kind("requests longer or shorter", PROMPT_LENGTH, "prompt_tokens"),
)
"""Of the plan's kinds those that move all requests and stand in the records of a run."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One kind of fault in one experiment.

    shift
        Of the signal's median, in sd of the baseline: the end of its 95 % interval nearer to 0; 0
        if the interval contains 0. None: too few were measured.
    promised
        Whether at least 4 in 5 such faults are told within as many requests as came.
    told
        Broken requests until the detector's evidence crossed; None: it did not.
    """

    kind: str
    detector: str
    shift: float | None
    promised: bool
    told: int | None


def promises(experiment: Experiment) -> tuple[Promise, ...]:
    """Ask the plan for each kind, and follow the evidence; a kind without a baseline is left out.

    A detector's evidence is followed once, for all of its kinds.
    """
    told: dict[str, int | None] = {}
    fitted: dict[str, RankReference | None] = {}
    found = []
    for kind in KINDS:
        name = kind.detector.name
        if name not in fitted:
            fitted[name] = _fitted(kind.detector, experiment)
        reference = fitted[name]
        if reference is None:
            continue
        if name not in told:
            told[name] = _told(kind.detector, reference, experiment)
        shift = _shift(reference, kind, experiment)
        broken = len(experiment.live) - experiment.calm
        promised = LATE * _expected(reference, kind, shift) <= broken
        found.append(Promise(kind.words, name, shift, promised, told[name]))
    return tuple(found)


def _fitted(detector: RankDetector, experiment: Experiment) -> RankReference | None:
    try:
        return detector.fit(_window(experiment.baseline, 0, len(experiment.baseline)))
    except (SignalAbsent, ReferenceTooSmall):
        return None


def _shift(reference: RankReference, kind: Kind, experiment: Experiment) -> float | None:
    growth = growth_of(reference)
    known = _signals(experiment.live)[kind.signal][experiment.calm :]
    known = known[~np.isnan(known)]
    if growth is None or known.size < PER_CHECK:
        return None
    moved = movable(reference, growth, Fault(signal=kind.signal))
    if moved is None or moved.sd <= 0.0:
        return None
    usual = _signals(experiment.baseline)[kind.signal]
    usual = usual[~np.isnan(usual)]
    low, high = _interval(known, usual) / moved.sd
    return round(float(low if low > 0.0 else min(high, 0.0)), 3)


def _interval(known: Floats, usual: Floats) -> Floats:
    """Return the 95 % bootstrap interval of the difference of two medians."""
    rng = np.random.default_rng(14)
    medians = [
        np.median(rng.choice(values, (_DRAWS, values.size)), axis=1) for values in (known, usual)
    ]
    ends: Floats = np.quantile(medians[0] - medians[1], [0.025, 0.975])
    return ends


def _expected(reference: RankReference, kind: Kind, shift: float | None) -> float:
    """Requests until a shift is told, as the plan expects; inf where it is not."""
    growth = growth_of(reference)
    if growth is None or not shift:
        return np.inf
    moved = movable(reference, growth, Fault(signal=kind.signal, falls=shift < 0.0))
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
