"""What was wanted of Driftline, what was seen, and where it was missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.adapters.bound import upper_bound
from benchmarks.adapters.page.results import Ours, Repeat, Results, Way
from detectors.smallest_seen import POWER

LEAST_KL = 0.05
MOST_REQUESTS = 100
RIGHT_BLAME = 0.95
SILENT = 0.99
PROMISED = 5
"""Promises of the plan from which on their share says something."""
ACTED_ON = frozenset({"weights", "serving"})
"""Families of faults that are the adapter's own or its serving's: paged, and moved away from."""
LEFT_ALONE = frozenset({"prompts", "traffic", "clients"})
"""Families that no route is moved for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal: in how many experiments it held, and the names of those where it did not.

    Fewer than ``least`` experiments say nothing.
    """

    text: str
    held: int
    of: int
    wanted: float
    missed: Sequence[str]
    least: int = 1

    @property
    def met(self) -> bool | None:
        """None: too few experiments say anything about it."""
        return self.held >= self.wanted * self.of if self.of >= self.least else None

    @property
    def sure(self) -> float | None:
        """In which share of experiments it holds at least, 95 % sure; None: nothing was asked."""
        return 1.0 - upper_bound(self.of - self.held, self.of) if self.of else None


def goals(results: Results) -> list[Goal]:
    """Hold a run against the goals of the benchmark."""
    cycle = results.run.get("probe_cycle_s")
    waited = f", within {cycle:g} s, or with the first probe after the break" if cycle else ""
    return [
        _goal(
            f"faults of weights and serving with KL ≥ {LEAST_KL:g} are paged within"
            f" {MOST_REQUESTS} requests{waited}",
            results,
            to_page,
            lambda _, one: _paged(one, cycle),
        ),
        _goal(
            f"the blame is right in ≥ {100 * RIGHT_BLAME:.0f} % of what was told, in the first page"
            " (the first ticket where none came)",
            results,
            lambda way, one: bool(way.blame) and one.driftline.first is not None,
            lambda way, one: one.driftline.blame in way.blame,
            wanted=RIGHT_BLAME,
        ),
        _goal(
            f"a cause is named, and each that is named is right, in ≥ {100 * RIGHT_BLAME:.0f} % of"
            " what was told",
            results,
            lambda way, one: bool(way.blame) and one.driftline.first is not None,
            lambda way, one: blamed_right(way, one.driftline),
            wanted=RIGHT_BLAME,
        ),
        _goal(
            "no route is moved for prompts, traffic or clients",
            results,
            lambda way, _: way.family in LEFT_ALONE,
            lambda _, one: one.driftline.moved is None,
        ),
        _goal(
            "traffic leaves the broken versions that a route should move away from",
            results,
            lambda _, one: one.moved,
            lambda _, one: one.driftline.moved is not None,
        ),
        *_at_once(results, cycle),
        _goal(
            f"harmless changes are silent in ≥ {100 * SILENT:.0f} % of runs",
            results,
            lambda way, _: way.harmless,
            lambda _, one: _silent(one.driftline),
            wanted=SILENT,
        ),
        *_resampled(results.silence),
        _promised(results),
        _goal(
            "nothing is told before the break, of ten fresh requests",
            results,
            lambda _, __: True,
            lambda _, one: one.driftline.false_before == 0,
        ),
        _goal(
            "adapters that the fault does not hit are left alone: nothing is told of them, and"
            " their routes stay",
            results,
            lambda _, one: one.driftline.others is not None,
            lambda _, one: one.driftline.others == 0,
        ),
        *_healthy(results.run.get("calm_told")),
    ]


def _at_once(results: Results, cycle: float | None) -> Iterator[Goal]:
    """Ask how soon after its page the traffic left; a run of an older benchmark has no cycle."""
    if cycle is not None:
        yield _goal(
            f"that traffic leaves within {cycle:g} s of the page",
            results,
            lambda _, one: one.moved,
            lambda _, one: left_within(one.driftline, cycle),
        )


def left_within(ours: Ours, seconds: float) -> bool:
    """Whether traffic left the broken version so soon after its page."""
    known = [one.seconds for one in (ours.page, ours.moved) if one and one.seconds is not None]
    return len(known) == 2 and known[1] - known[0] <= seconds  # noqa: PLR2004 (page and move)


def to_page(way: Way, one: Repeat) -> bool:
    """Whether a fault is one that must be paged."""
    return way.family in ACTED_ON and (one.kl or 0.0) >= LEAST_KL


def _silent(ours: Ours) -> bool:
    """Whether nobody heard of it: of too little compared neither."""
    return ours.first is None and ours.moved is None and not ours.blind


def acted_right(one: Repeat) -> bool:
    """Whether a route was moved exactly where it should be."""
    return (one.driftline.moved is not None) == one.moved


def blamed_right(way: Way, ours: Ours) -> bool:
    """Whether it named a cause, sooner or later, and none that is wrong."""
    return bool(ours.named) and ours.named <= set(way.blame)


def _resampled(silence: Mapping[str, Any] | None) -> Iterator[Goal]:
    if silence is None:
        return
    yield Goal(
        text=f"healthy traffic is silent: recorded requests resampled, {_drawn(silence)} a run,"
        " no probe takes part",
        held=silence["silent"],
        of=silence["runs"],
        wanted=SILENT,
        missed=silence.get("missed", ()),
    )


def _drawn(silence: Mapping[str, Any]) -> str:
    """Say how many requests a run has; once where all have as many."""
    return " to ".join(dict.fromkeys(str(silence["requests"]).split(" to ")))


def _promised(results: Results) -> Goal:
    """Hold the plan's promises against the evidence; one detector's of a run count once."""
    kept = {
        f"{name}: {each.detector}/": each.told is not None
        for _, name, one in _experiments(results)
        for each in one.promises
        if each.promised
    }
    missed = [name for name, told in kept.items() if not told]
    return Goal(
        text=f"what `driftline plan` promises of the baseline is told ({100 * POWER:.0f} %), by"
        " the evidence of the promised detector alone",
        held=len(kept) - len(missed),
        of=len(kept),
        wanted=POWER,
        missed=missed,
        least=PROMISED,
    )


def _healthy(told: int | None) -> Iterator[Goal]:
    if told is not None:
        yield Goal(
            text="nothing is told of the healthy traffic that all experiments begin with",
            held=int(told == 0),
            of=1,
            wanted=1.0,
            missed=(),
        )


_Question = Callable[[Way, Repeat], bool]


def _goal(
    text: str, results: Results, asked: _Question, held: _Question, *, wanted: float = 1.0
) -> Goal:
    chosen = [(way, name, one) for way, name, one in _experiments(results) if asked(way, one)]
    missed = [name for way, name, one in chosen if not held(way, one)]
    return Goal(
        text=text, held=len(chosen) - len(missed), of=len(chosen), wanted=wanted, missed=missed
    )


def _experiments(results: Results) -> Iterator[tuple[Way, str, Repeat]]:
    for way in results.ways:
        for number, one in enumerate(way.repeats):
            yield way, f"{way.way}/{number}", one


def _paged(one: Repeat, cycle: float | None) -> bool:
    return paged_by(one, cycle) is not None


def paged_by(one: Repeat, cycle: float | None) -> str | None:
    """Say by which clause of the goal the page came in time; None: by none."""
    page = one.driftline.page
    if page is None:
        return None
    if page.requests <= MOST_REQUESTS:
        return "requests"
    if cycle is not None and page.seconds is not None and page.seconds <= cycle:
        return "cycle"
    told = page.probed or page.by == "probe"
    return "first probe" if told and page.probes is not None and page.probes <= 1 else None
