"""How the tools did beside each other, over all ways."""

from __future__ import annotations

from statistics import median

from benchmarks.adapters.clients import FRESH
from benchmarks.adapters.contestants.experiment import WINDOW
from benchmarks.adapters.page.columns import Column, cell, columns, false_alarms
from benchmarks.adapters.page.results import Results
from benchmarks.adapters.page.tables import table


def leaderboard(results: Results) -> str:
    """Set all tools beside each other: what they saw, how soon, and how often they were wrong."""
    ours, theirs = columns(results)[0], columns(results)[2:]
    rows = [["Driftline", "as in the run", *_standing(results, ours), "-"]]
    rows += [
        [
            f"{tool.tool} {tool.version or ''}".strip(),
            tool.settings,
            *_standing(results, column),
            _cpu(results, slug),
        ]
        for (slug, tool), column in zip(results.tools.items(), theirs, strict=True)
    ]
    head = (
        "\n## The other tools\n\nWhere a tool reads a table, it has the mean and 95th percentile of"
        " the NLL, the share of near-certain tokens, entropy, margin, the logs of both token counts"
        " and whether the request failed; what was not measured is the baseline's median. Windows"
        " begin and end at the break, which favours them; Driftline also asks the engine. *Faults*:"
        " ways that are not harmless and that it told of, and after how many requests, the median"
        f" of those. Records end where Driftline moved the traffic away, and fewer than {WINDOW}"
        " after the break are no window: a tool is not asked of such a way, unless it alarmed"
        " before. *False*: alarms in the healthy requests before the break, per 1,000; Driftline"
        f" has {FRESH} of them a way, the others {FRESH} and those that all ways begin with. CPU is"
        " of one experiment, the baseline included.\n\n"
    )
    names = ["tool", "settings", "faults", "requests", "harmless ones alarmed", "false", "CPU"]
    return head + table(names, rows)


def _standing(results: Results, column: Column) -> list[str]:
    """One tool's place: faults seen, requests until then, harmless ways alarmed, false alarms."""
    faults = [cell(way, column) for way in results.ways if not way.harmless]
    harmless = [cell(way, column) for way in results.ways if way.harmless]
    seen = [one.requests for one in faults if one.requests is not None]
    false = false_alarms(results.ways, column)
    return [
        f"{len(seen)} of {sum(one.of > 0 for one in faults)}",
        f"{median(seen):.0f}" if seen else "-",
        f"{sum(one.seen > 0 for one in harmless)} of {sum(one.of > 0 for one in harmless)}",
        "-" if false is None or not false[1] else f"{1000 * false[0] / false[1]:.2g}",
    ]


def _cpu(results: Results, slug: str) -> str:
    known = [
        seen.cpu_s
        for way in results.ways
        for one in way.repeats
        if (seen := one.tools.get(slug)) is not None and seen.cpu_s is not None
    ]
    return f"{median(known):.2g} s" if known else "-"
