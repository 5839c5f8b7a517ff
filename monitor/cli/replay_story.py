"""A replay's story in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.cli import screen

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.domain import Reference
    from monitor.replay.body import Body
    from monitor.replay.replaying import ReplayOutcome
    from monitor.replay.running import Crossed
    from monitor.replay.story import Source, Story


NO_PROBE = (
    "A replay asks no model. Where the inputs moved with the answers, a soft signal's page is a"
    " ticket; the service's perplexity probe may say otherwise, and page."
)


def tell(outcome: ReplayOutcome, body: Body) -> None:
    """Print all stories, one version after the other; a summary first where there are many."""
    _files(body)
    if len(outcome.stories) > 1:
        _summary(body)
    for story in outcome.stories:
        _story(story)
    _failed(body)


def tell_summary(body: Body) -> None:
    """Print a line a version."""
    _files(body)
    _summary(body)
    _failed(body)


def _files(body: Body) -> None:
    _file(body["file"])
    if body["baseline"] is not None:
        _file(body["baseline"])


def _file(read: Body) -> None:
    screen.say(f"{read['path']}: {read['lines']:,} lines, {read['bad']:,} bad")
    for one in read["first_bad"]:
        file = f"{one['file']}, " if "file" in one else ""
        screen.say(f"  {file}line {one['line']}: {one['reason']}", style="yellow")
    if (more := read["bad"] - len(read["first_bad"])) > 0:
        screen.say(f"  and {more:,} more", style="yellow")
    if passed := read["passed_over"]:
        names = ", ".join(f"{name} ({count:,})" for name, count in passed.items())
        screen.say(f"  not asked for: {names}")


def _summary(body: Body) -> None:
    screen.table(
        "versions",
        ["version", "worst verdict", "records", "days", "tickets", "pages"],
        [
            [
                one["name"],
                screen.verdict(one["worst_verdict"]),
                f"{one['records']:,}",
                screen.number(one["days"], digits=1),
                str(one["messages"]["tickets"]),
                str(one["messages"]["pages"]),
            ]
            for one in body["versions"]
        ],
    )


def _failed(body: Body) -> None:
    for label, why in body["failed"].items():
        screen.say(f"{label}: not replayed: {why}", style="yellow")


def _story(story: Story) -> None:
    traffic = story.traffic
    screen.say("")
    screen.say(
        f"{story.label}: {traffic.records:,} records in {traffic.days:.1f} days,"
        f" {_time(traffic.first_at)} to {_time(traffic.last_at)}",
        style="bold",
    )
    _reference(story)
    _sources(story)
    _detectors(story)
    _changes(story)
    if any(one.page is not None for one in story.detectors):
        screen.say(NO_PROBE, style="dim")
    _budgets(story)
    if story.examples:
        screen.say("requests least like training:")
        for text in story.examples:
            screen.say(f"  {' '.join(text.split())}", style="dim")


def _reference(story: Story) -> None:
    reference, stage = story.reference, _stage(story.reference)
    screen.say(
        f"reference: {reference.n_baseline:,} records of {reference.span_days:.1f} days, {stage}"
    )
    if reference.n_training:
        source = "the baseline's early half" if story.held_out else "training texts"
        screen.say(f"  index of {reference.n_training:,} {source}, by {reference.encoder}")


def _stage(reference: Reference) -> str:
    if reference.provisional:
        return (
            "provisional: days are taken to differ, and only failures would move traffic"
            " (14 days and 1,000 records approve it; --approved replays as if they had)"
        )
    return f"approved by {reference.approved_by}"


def _sources(story: Story) -> None:
    """Print what could not be tested, and what would change that."""
    total = story.traffic.records
    for source in story.sources:
        if source.measured < total:
            screen.say(_lack(source, total), style="yellow" if not source.measured else "")
    if story.traffic.other_settings:
        screen.say(
            f"  {story.traffic.other_settings:,} records have settings (temperature, top_p,"
            " max_tokens) that the baseline lacks: set aside",
            style="yellow",
        )


def _lack(source: Source, total: int) -> str:
    if source.measured:
        names = ", ".join(source.partial + source.blind)
        return f"  {source.name}: {source.measured:,} of {total:,} records; for {names}"
    lost = []
    if source.blind:
        lost.append(f"{', '.join(source.blind)} cannot be tested")
    if source.partial:
        lost.append(f"{', '.join(source.partial)} sees the rest of its signals only")
    return f"  no {source.name} in this log: {', '.join(lost)}; {source.advice}"


def _detectors(story: Story) -> None:
    screen.table(
        f"detectors at a budget of {story.budget.budget:g} in 30 days",
        ["detector", "notice", "page", "highest evidence", "smallest change"],
        [
            [
                one.name,
                _crossed(one.notice) if one.absent is None else f"not tested: {one.absent}",
                _crossed(one.page),
                screen.number(one.highest, digits=1),
                screen.number(one.detectable, digits=3),
            ]
            for one in story.detectors
        ],
    )


def _crossed(crossed: Crossed | None) -> str:
    if crossed is None:
        return "-"
    from monitor.replay.body import crossed_of, words_of

    crossing = crossed.crossing
    return (
        f"{_time(crossing.at)}, {crossed.n_since_onset:,} requests after its onset"
        f" ({crossed.n:,} of the log): {words_of(crossed_of(crossed))}"
    )


def _changes(story: Story) -> None:
    screen.table(
        "transitions",
        ["at", "verdict", "blame", "requests", "why"],
        [
            [
                _time(one.at),
                screen.verdict(one.after.kind.value),
                one.after.blame.value,
                f"{one.n:,}",
                one.after.reason,
            ]
            for one in story.changes
        ],
    )


def _budgets(story: Story) -> None:
    screen.table(
        f"messages in {story.traffic.days:.1f} days of log, by the budget for 30 days",
        ["budget", "tickets", "pages", "tickets in 30 days", "pages in 30 days"],
        [
            [
                f"{one.budget:g}",
                str(one.tickets),
                str(one.pages),
                screen.number(one.monthly(one.tickets), digits=1),
                screen.number(one.monthly(one.pages), digits=1),
            ]
            for one in story.budgets
        ],
    )


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
