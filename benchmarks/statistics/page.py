"""The statistics part of ``docs/benchmarks.md`` and its pictures, from stored results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.statistics import (
    ages,
    canaries,
    delays,
    false_alarms,
    input_drift,
    learned_index,
    other_detectors,
    race,
    shadows,
    svg,
)
from benchmarks.statistics.about import load
from benchmarks.statistics.alarms import follow
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    DRIFTS,
    MONDAY,
    Regime,
    source,
)
from detectors.logit_ks import LOGIT_KS
from detectors.types import Floats

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURES = DOCS / "pictures"
HEADING = "## Statistics: false alarms, delays and power\n"
_INTRODUCTION = """
Written by `make bench-statistics` (hours) from `benchmarks/statistics/results/`; do not edit.
Streams are simulated token by token and measured by the product's own code; the evidence is
`detectors`', the same functions the service calls, on `logit_ks` where no other detector is named,
with all of the budget. What was not run is missing here, never extrapolated.
"""


def write() -> None:
    """Render what results there are into the page, and draw the pictures."""
    before = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    PAGE.write_text(before.rstrip() + "\n\n" + section(), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, draw in _DRAWN.items():
        found = load(name)
        if found:
            (PICTURES / f"{name}.svg").write_text(draw(found), encoding="utf-8")
    (PICTURES / "evidence.svg").write_text(_draw_evidence(), encoding="utf-8")


def section() -> str:
    """Return the part of the page, as Markdown."""
    parts = [HEADING, _INTRODUCTION]
    for name, (title, render) in _PARTS.items():
        found = load(name)
        if found:
            parts += [f"\n### {title}\n\n", render(found), "\n", _about(found["about"])]
    return "".join(parts)


def _about(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"\n{about['date']}; {about['machine']}; load {about['load']};"
        f" {about['seconds']} s; seed {about['seed']}; {versions}.\n"
    )


def _false_alarms(found: Mapping[str, Any]) -> str:
    cells = found["cells"]
    good = sum(all(false_alarms.kept(cell).values()) for cell in cells)
    months = sum(cell["months"] for cell in cells)
    head = (
        f"Nothing drifts; an evaluation every 15 minutes; {months} adapter-months of"
        f" {found['days']} days. **The budget was kept in {good} of {len(cells)} cells**: alarms"
        " in all months of a cell at most the 99 % point of a Poisson law at the budget. What a"
        " reference under 7 days cannot know of days is assumed (.2 sd). Shown are"
        " alarms in all months at a budget of 1 and of 1/100 in 30 days.\n\n"
    )
    rows = [
        "| regime | reference | a check | months | notice 1 | notice 1/100 | page 1 | page 1/100 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        kept = false_alarms.kept(cell)
        shown = [
            f"{sum(alarms)}" if kept[name] else f"**{sum(alarms)}**"
            for name, alarms in cell["alarms"].items()
        ]
        days = cell["reference"] / (96 * cell["per_check"])
        rows.append(
            f"| {cell['regime']} | {cell['reference']:,} ({days:.3g} days) |"
            f" {cell['per_check']} | {cell['months']} | {' | '.join(shown)} |"
        )
    return head + "\n".join(rows) + "\n\nBold: above the bound.\n"


def _other_detectors(found: Mapping[str, Any]) -> str:
    cells = found["cells"]
    good = sum(all(false_alarms.kept(cell).values()) for cell in cells)
    per_check, days = other_detectors.PER_CHECK, other_detectors.REFERENCE_DAYS
    head = (
        "The live detectors that read other signals, through the product's own calibration: nothing"
        f" drifts but days, which move every request by .1 or .2 sd; a reference of {days} days,"
        f" {per_check} requests every 15 minutes, months of {found['days']} days. Answers are"
        " vectors of 20 kinds, laid along axes of the reference's early half, so only its later"
        " half is measured; times grow with prompt and answer; feedback is solved or not (85 %) and"
        " one to five stars; three clients have a system prompt each, and answers one of four"
        " forms. Complaints that come late are left out of the reference as"
        " `detectors.feedback.settles_after` says, and evidence is what comes afterwards."
        f" **{good} of {len(cells)} cells kept their budgets**: alarms in all months at most the"
        " bound, the 99 % point of a Poisson law. `output_similarity` and what"
        " is told of requests and of the form of answers never page.\n\n"
    )
    names = [f"{one.process.value} {one.budget:g}" for one in false_alarms.ASKED]
    rows = [
        f"| detector | day effects | months | {' | '.join(names)} |",
        "| --- | --- | --- |" + " --- |" * len(names),
    ]
    for cell in cells:
        kept = false_alarms.kept(cell)
        shown = [_alarms_cell(cell, name, is_kept=kept.get(name)) for name in names]
        rows.append(
            f"| {cell['name']} | {cell['day']:g} sd | {cell['months']} | {' | '.join(shown)} |"
        )
    return head + "\n".join(rows) + "\n\nBold: above the bound.\n"


def _alarms_cell(cell: Mapping[str, Any], name: str, *, is_kept: bool | None) -> str:
    if is_kept is None:
        return "-"
    most = false_alarms.bound(float(name.rpartition(" ")[2]), cell["months"])
    count = sum(cell["alarms"][name])
    return f"{count if is_kept else f'**{count}**'} (at most {most})"


def _delays(found: Mapping[str, Any]) -> str:
    runs = len(found["drifts"][0]["hours"]["notice 1"])
    compared = [delays.within(drift, name) for drift in found["drifts"] for name in drift["hours"]]
    known = [one for one in compared if one is not None]
    head = (
        "![Hours from onset to alarm](pictures/delays.svg)\n\n"
        f"Hours from onset to alarm, median (10 to 90 %) of {runs} runs, each with a reference"
        " of its own: 14 days × 96 checks × 40 requests, independent. Drift is in sd of the"
        " per-request mean NLL. Beside it the median measured when the method was designed;"
        f" **{sum(known)} of {len(known)} are at most 1.25 times that** (bold: not)."
        " ∞: not within the hours followed.\n\n"
    )
    rows = [
        "| drift | notice 1 | designed | page 1 | designed | page 1/1000 | designed | followed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for drift in found["drifts"]:
        cells = []
        for name, hours in drift["hours"].items():
            cells += [_delay_cell(drift, name, hours), _hours(drift["published"][name])]
        rows.append(f"| {drift['name']} | {' | '.join(cells)} | {drift['followed_hours']:g} |")
    return head + "\n".join(rows) + "\n"


def _delay_cell(drift: Mapping[str, Any], name: str, hours: list[float]) -> str:
    middle, low, high = delays.quantiles(hours)
    cell = (
        _hours(middle)
        if math.isinf(middle)
        else (f"{_hours(middle)} ({_hours(low)} to {_hours(high)})")
    )
    return f"**{cell}**" if delays.within(drift, name) is False else cell


def _hours(value: float | None) -> str:
    if value is None:
        return "-"
    return "∞" if math.isinf(value) else f"{value:.3g}"


def _input_drift(found: Mapping[str, Any]) -> str:
    alarms = found["false_alarms"]
    head = (
        "![Share of runs that noticed](pictures/input_drift.svg)\n\n"
        "Requests until the notice process (1 in 30 days) alarms; checks of 40. Index: the"
        " 10,003 training texts of BANKING77; baseline: half of its 3,080 test texts; the rest of"
        " the traffic: the other half. Unseen intents: ten of 77, drawn for each run, left out"
        " of index and baseline. The known intent, one of 77 in the baseline, is drawn for each"
        " run too. Similarity and 12 coordinates, as the service has them; MiniLM by the"
        " embedding worker's encoder. The baseline has no times: its days are taken to be"
        " alike.\n\n"
    )
    rows = [
        "| new requests | runs | within | noticed | median | 90 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in found["cases"]:
        seen, middle, late = _requests(case)
        limit = case["within"] or case["followed"]
        rows.append(
            f"| {case['name']} | {seen.size} | {limit} requests |"
            f" {input_drift.shares(case):.1%} | {_hours(middle)} | {_hours(late)} |"
        )
    tail = (
        f"\n\nNothing new, requests drawn from the population of the baseline: {sum(alarms)}"
        f" alarms in {len(alarms)} adapter-months of 115,200 requests.\n"
    )
    return head + "\n".join(rows) + tail


def _requests(found: Mapping[str, Any]) -> tuple[Floats, float, float]:
    """Requests until a notice, sorted, their median and their 90 % point."""
    seen = np.sort([np.inf if one is None else float(one) for one in found["requests"]])
    middle, late = (float(np.quantile(seen, q, method="inverted_cdf")) for q in (0.5, 0.9))
    return seen, middle, late


def _live_input(found: Mapping[str, Any]) -> str:
    head = (
        "The same texts and process, with a baseline of days: 40 requests every 15 minutes, drawn"
        " from half of the test texts, and so is what goes on. Days that could differ have to be"
        " paid for, and fewer than ten of them dearly. 14 days are those of a reference that has"
        " an index (uploaded, or taken over); without one the early half of a fortnight becomes"
        " the index, and the baseline is the 7 days of the later half.\n\n"
    )
    rows = [
        "| new requests | days of the baseline | runs | noticed | median | 90 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in found["cells"]:
        seen, middle, late = _requests(cell)
        share = np.isfinite(seen).mean()
        rows.append(
            f"| {cell['name']} | {cell['days']} | {seen.size} | {share:.0%} |"
            f" {_hours(middle)} | {_hours(late)} |"
        )
    return head + "\n".join(rows) + f"\n\nFollowed: {found['followed']:,} requests.\n"


def _learned_index(found: Mapping[str, Any]) -> str:
    head = (
        "References of live records that make their index of themselves:"
        f" {learned_index.REFERENCE_DAYS} days, {learned_index.PER_CHECK} requests every 15"
        f" minutes, months of {found['days']} days. Requests are vectors of 20 kinds; every day has"
        " an effect on all of them, in sd of a request. The product makes the index of the early"
        " half. With half of each day, where what is held out is compared with examples a day or"
        " more away, similarities would have 14 days in place of 7. That is sooner, and does not"
        " keep the budget"
        " ([why it is not so](decisions/0023-a-baselines-own-index-is-its-early-half.md)).\n\n"
    )
    names = [f"{one.process.value} {one.budget:g}" for one in learned_index.NOTICES]
    rows = [
        f"| nothing new | the index is | months | {' | '.join(names)} |",
        "| --- | --- | --- |" + " --- |" * len(names),
    ]
    for cell in found["calm"]:
        kept = false_alarms.kept(cell)
        shown = [_alarms_cell(cell, name, is_kept=kept[name]) for name in names]
        rows.append(
            f"| {cell['world']} | {cell['split']} | {cell['months']} | {' | '.join(shown)} |"
        )
    between = (
        f"\nBold: above the bound. And where {learned_index.NEW_SHARE:.0%} of the requests are of"
        f" kinds that no record was of, in requests, within {learned_index.FOLLOWED_DAYS} days:\n"
    )
    rows += [
        between,
        "| days | the index is | runs | noticed | median | 90 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in found["drifting"]:
        seen, middle, late = _requests(cell)
        share = np.isfinite(seen).mean()
        rows.append(
            f"| {cell['world']} | {cell['split']} | {seen.size} | {share:.0%} |"
            f" {_count(middle)} | {_count(late)} |"
        )
    return head + "\n".join(rows) + "\n"


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "∞"


def _race(found: Mapping[str, Any]) -> str:
    head = (
        "The same request summaries (mean NLL, its 95th percentile, near-certain share, log"
        " length), a check of 40 requests every 15 minutes, each peer with its own defaults and"
        f" the newest {race.REFERENCE_SHOWN:,} requests of the reference. Alarms among the checks"
        " run; a week has 672. Peers are in environments of their own, telemetry off.\n\n"
    )
    regimes = list(found["contestants"][0]["alarms"])
    rows = [
        f"| detector | {' | '.join(regimes)} | delay at +.5 sd, median h (runs) |",
        f"| --- | {' | '.join('---' for _ in regimes)} | --- |",
    ]
    for one in found["contestants"]:
        cells = [
            f"{sum(alarms)} in {checks} ({672 * sum(alarms) / checks:.3g} a week)"
            for alarms, checks in (
                (one["alarms"][regime], one["checks"][regime]) for regime in regimes
            )
        ]
        late = f"{_hours(race.delay(one['hours']))} ({len(one['hours'])})"
        version = f" {one['version']}" if one["version"] else ""
        rows.append(f"| {one['peer']}{version}: {one['name']} | {' | '.join(cells)} | {late} |")
    failed = [f"\n{peer} did not run: {why}\n" for peer, why in found["failures"].items()]
    return head + "\n".join(rows) + "\n" + "".join(failed)


def _cost(found: Mapping[str, Any]) -> str:
    rows = [
        "| requests | features and both processes | features and two plain passes | ratio |",
        "| --- | --- | --- | --- |",
    ]
    rows += [
        f"| {row['requests']:,} | {1e3 * row['ours']:.3g} ms | {1e3 * row['plain']:.3g} ms |"
        f" {row['ours'] / row['plain']:.3g} ({row['ratios'][0]:.3g} to {row['ratios'][-1]:.3g}) |"
        for row in found["rows"]
    ]
    races = len(found["rows"][0]["ratios"])
    head = (
        "CPU of evaluating new requests of 200 tokens against a reference of 11,520, beside"
        " the same features and two passes of the formula written plainly: medians of interleaved"
        f" rounds in one process. {races} such races; shown is the one of the median ratio, and"
        " the range of the ratios. Goal: at most 1.2.\n\n"
    )
    return head + "\n".join(rows) + "\n"


def _draw_delays(found: Mapping[str, Any]) -> str:
    rows = []
    for drift in found["drifts"]:
        for i, name in enumerate(("notice 1", "page 1")):
            middle, low, high = delays.quantiles(drift["hours"][name])
            if math.isfinite(middle):
                mark = drift["published"][name]
                label = f"{drift['name']}, {name.split()[0]}"
                rows.append(
                    svg.Span(name=label, low=low, middle=middle, high=high, mark=mark, colour=i)
                )
    title = "Hours from onset to alarm: median, 10 to 90 %; upright: when designed"
    return svg.spans(title, rows, x="hours, budget 1 in 30 days", low=0.2, high=130.0)


def _draw_input(found: Mapping[str, Any]) -> str:
    curves = []
    for case in found["cases"]:
        seen = np.array([np.inf if one is None else one for one in case["requests"]])
        grid = range(0, 1_001, 40)
        points = [(float(n), float((seen <= n).mean())) for n in grid]
        curves.append(svg.Line(name=case["name"], points=points))
    return svg.lines(
        "Share of runs that noticed requests unlike the training",
        curves,
        x="requests seen, new and usual",
        y="share of runs",
    )


def _draw_evidence() -> str:
    """Two days of one adapter: nothing on the first, then nothing or a drift on the second."""
    rng = np.random.default_rng(delays.SEED)
    drawn, per_check, before = source(), delays.PER_CHECK, delays.REFERENCE_CHECKS
    first, day = before * per_check, CHECKS_PER_DAY * per_check
    steady = drawn.steady(
        Regime.INDEPENDENT, requests=first + 2 * day, per_check=per_check, rng=rng
    )
    reference = LOGIT_KS.fit(steady.window(0, first))
    start = MONDAY + CHECK_SECONDS * before
    curves = []
    for name, drift in (
        ("nothing", None),
        *((one.name, one) for one in DRIFTS if one.name in _DRAWN_DRIFTS),
    ):
        summary = steady.summary.copy()
        if drift is not None:
            changed = replace(drift, hours=24.0)
            live = drawn.drifted(changed, per_check=per_check, start=start + 86_400.0, rng=rng)
            summary[first + day :] = live.summary
        asked = delays.ASKED["notice 1"]
        followed = follow(
            reference, replace(steady, summary=summary), first=first, start=start, asked=(asked,)
        )[asked]
        last = followed.alarms[0] + 1 if followed.alarms.size else followed.evidence.size
        points = [(i / 4.0, max(float(e), -6.0)) for i, e in enumerate(followed.evidence[:last])]
        curves.append(svg.Line(name=name, points=points))
    title = "Evidence of the notice process; the drifts begin at hour 24; dashed: the alarm line"
    return svg.lines(title, curves, x="hours", y="log10 of evidence over the line", level=0.0)


_DRAWN_DRIFTS = frozenset({"mean +.2 sd", "mean +.5 sd", "2 % bad requests"})


def _classic(found: Mapping[str, Any]) -> str:
    head = (
        "Tickets of the preset `classic` in an adapter-month of 30 days while nothing drifts: the"
        " smallest KS p-value of the four summaries of `logit_ks`, a window of 15 minutes, below"
        " .01 three times in a row. Reference of 14 days, rhythm removed as the service does."
        " Beside it the windows below .01 by themselves: what the textbook's rule would raise at"
        " each look. At a budget of 1 the notice process stayed within 1 ticket a month in every"
        " one of these regimes (above).\n\n"
    )
    rows = [
        "| regime | a check | months | tickets a month | in each | windows below .01 a month |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {cell['regime']} | {cell['per_check']} | {cell['months']} |"
        f" {np.mean(cell['tickets']):.2f} | {', '.join(map(str, cell['tickets']))} |"
        f" {np.mean(cell['past']):.0f} |"
        for cell in found["cells"]
    ]
    return head + "\n".join(rows) + "\n"


def _canaries(found: Mapping[str, Any]) -> str:
    cells = found["cells"]
    good = [cell for cell in cells if not cell["truth"]["worse"]]
    kept = sum(cell["rolled_back"] <= canaries.most(cell["runs"]) for cell in good)
    head = (
        "Canaries by the steps of the config (5 % for 24 h, 25 % and 50 % for 6 h), a look every 5"
        " minutes, through the state machine and the measurement of the service. The stable"
        " version succeeds in 85 %; success is critical, so that any proven fall rolls back: there"
        " false rollbacks are likeliest. "
        f"**False rollbacks kept to 5 % in {kept} of {len(good)} kinds**: at most the 99 % point of"
        " the binomial law at 5 %."
        " What was neither rolled back nor promoted waits for a person.\n\n"
    )
    rows = [
        "| canary | runs | rolled back | within a day | median | its requests | promoted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        bound = "" if cell["truth"]["worse"] else f" (at most {canaries.most(cell['runs'])})"
        after = "-" if cell["hours"] is None else f"{cell['hours']:.1f} h"
        requests = "-" if cell["requests"] is None else f"{cell['requests']:,.0f}"
        rows.append(
            f"| {cell['title']} | {cell['runs']} | {cell['rolled_back']}{bound} |"
            f" {cell['within_a_day']} | {after} | {requests} | {cell['promoted']} |"
        )
    return head + "\n".join(rows) + "\n"


_PARTS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "false_alarms": ("False alarms", _false_alarms),
    "other_detectors": ("False alarms of other live detectors", _other_detectors),
    "delays": ("Delays", _delays),
    "ages": ("Delays by the age of the reference", ages.rendered),
    "input_drift": ("Input drift on real texts", _input_drift),
    "live_input": ("Input drift against live references", _live_input),
    "learned_index": ("References that make their own index", _learned_index),
    "race": ("Beside other detectors", _race),
    "classic": ("The preset classic", _classic),
    "canaries": ("Canaries", _canaries),
    "shadows": ("Shadows", shadows.rendered),
    "cost": ("Cost of an evaluation", _cost),
}
_DRAWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "delays": _draw_delays,
    "input_drift": _draw_input,
}
