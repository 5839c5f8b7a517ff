"""Command that tests whether an adapter's monitoring sees injected faults on its own baseline."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from monitor.cli import options, screen
from monitor.cli.budget import hours
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed, ExitCode
from monitor.views.selftest import PowerBody, ProcessesBody, SelfTestBody, SelfTestReport, ToldBody

POLL_SECONDS: Final = 1.0
UNDER_WAY: Final = frozenset({"waiting", "running"})


@options.asks
def selftest(
    service: Service,
    adapter: options.Adapter,
    version: options.VersionOption = None,
    *,
    last: Annotated[
        bool, typer.Option("--last", help="Show the last self-test instead of running one.")
    ] = False,
) -> None:
    """Inject drifts into a replay of an adapter's baseline: power, delays and false alarms.

    A worker of the service does it, at low priority. Exit code 0: the budget was kept, or it
    cannot be known; 3: there were more false alarms than were promised; 1: there is no report,
    with the reason.
    """
    path = place("adapters", adapter, "selftest")
    answer = service.get(path, version=version)
    if not last:
        before = read(answer, SelfTestBody)
        answer = _run(service, path, before, version=version)
    found = read(answer, SelfTestBody)
    if service.as_json:
        screen.as_json(answer)
    report = found.report
    if found.state == "failed" or report is None:
        raise CommandFailed(found.error or f"{adapter} was not tested yet")
    if not service.as_json:
        _print(found, report)
    raise typer.Exit(ExitCode.OK if _kept(report.false_alarms) else ExitCode.DRIFTING)


def _run(service: Service, path: str, before: SelfTestBody, *, version: str | None) -> Any:
    """Request a self-test, and follow it until it ends."""
    answer = service.post(path, version=version)
    found = read(answer, SelfTestBody)
    with screen.progress() as progress:
        task = progress.add_task(f"self-test of {found.adapter}@{found.version}", total=1.0)
        while found.state in UNDER_WAY or found.finished_at == before.finished_at:
            progress.update(task, completed=found.progress if found.state == "running" else 0)
            time.sleep(POLL_SECONDS)
            answer = service.get(path, version=version)
            found = read(answer, SelfTestBody)
    return answer


def _kept(found: ProcessesBody) -> bool:
    return all(one is None or one.kept for one in (found.notice, found.page))


def _print(found: SelfTestBody, report: SelfTestReport) -> None:
    titles = {one.detector: one.title for one in found.coverage}
    screen.table(
        f"{found.adapter}@{found.version}: drifts injected into its own baseline",
        [
            "drift",
            "ticket in a day",
            "in a week",
            "median",
            "page in a day",
            "in a week",
            "median",
            "by",
        ],
        [
            [
                one.text,
                *_told(one.notice),
                *_told(one.page),
                ", ".join(titles.get(name, name) for name in one.detectors),
            ]
            for one in report.injections
        ],
    )
    alarms = report.false_alarms
    for process, quiet in (("notice", alarms.notice), ("page", alarms.page)):
        if quiet is not None:
            screen.say(
                f"{process}: {quiet.per_30_days:.2g} false alarms in 30 days"
                f" ({quiet.interval[0]:.2g} to {quiet.interval[1]:.2g}),"
                f" promised {quiet.promised:.2g}: {'kept' if quiet.kept else 'NOT KEPT'}",
                style="" if quiet.kept else "bold red",
            )
    baseline = report.baseline
    cut = "days" if baseline.by_day else f"{baseline.stretches} parts"
    screen.say(
        f"{baseline.records:,} records of {baseline.days:.1f} days, generation"
        f" {found.generation}; {_how(report, cut)} at"
        f" {report.requests_per_day:,.0f} requests a day"
    )
    for one in found.coverage:
        if one.of_expected is not None and one.of_expected < 1.0:
            screen.say(f"holds only for what is compared: {one.text}")
    if report.caveat:
        screen.say(report.caveat, style="bold")
    for name, reason in report.not_tested.items():
        screen.say(f"{titles.get(name, name)} was not tested: {reason}")


def _how(report: SelfTestReport, cut: str) -> str:
    if report.caveat:
        return f"all of its {cut} fitted on and replayed"
    return f"every other one of its {cut} fitted on, the rest replayed"


def _told(told: ToldBody | None) -> list[str]:
    if told is None:
        return ["-", "-", "-"]
    middle = "not seen"
    if told.median_hours is not None:
        middle = f"{hours(told.median_hours)} / {told.median_requests:,.0f}"
    return [_share(told.within_day), _share(told.within_week), middle]


def _share(power: PowerBody | None) -> str:
    if power is None:
        return "not known"
    low, high = power.interval
    return f"{power.share:.0%} ({low:.0%} to {high:.0%})"
