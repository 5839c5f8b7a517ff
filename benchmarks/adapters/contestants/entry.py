"""What one tool did with one experiment: the leaderboard's file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.adapters.contestants.experiment import Experiment


class NotAnEntry(Exception):  # noqa: N818 - it says what is wrong
    """The file is not an entry; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The first alarm after the break: after how many broken records, and when."""

    requests: int
    at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A tool's result in one experiment.

    tool, version, settings
        Its name on the page, its version (None where it has none), how it was set up.
    alarm
        None: it said nothing after the break.
    false_before
        Alarms before the break.
    cpu_s
        CPU time of reading the baseline and all records; None: not measured.
    """

    tool: str
    version: str | None
    settings: str
    alarm: Alarm | None
    false_before: int
    cpu_s: float | None = None


def entry_of(
    ends: Sequence[int],
    experiment: Experiment,
    *,
    tool: str,
    version: str | None,
    settings: str,
    cpu_s: float | None,
) -> Entry:
    """Make an entry of alarms, each given by the number of records that it had seen."""
    calm = experiment.calm
    after = min((end for end in ends if end > calm), default=None)
    alarm = None if after is None else Alarm(requests=after - calm, at=experiment.at(after - 1))
    before = sum(end <= calm for end in ends)
    return Entry(
        tool=tool,
        version=version,
        settings=settings,
        alarm=alarm,
        false_before=before,
        cpu_s=None if cpu_s is None else round(cpu_s, 3),
    )


def write(entry: Entry, path: Path) -> None:
    """Write an entry; half a file is never left."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(entry), indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> Entry:
    """Read an entry, whoever wrote it; raises NotAnEntry."""
    try:
        return _entry(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise NotAnEntry(f"{path}: {error!r}") from error


def _entry(body: Mapping[str, Any]) -> Entry:
    alarm = body["alarm"]
    entry = Entry(**{**body, "alarm": None if alarm is None else Alarm(**alarm)})
    if not entry.tool or entry.false_before < 0:
        raise ValueError("a tool has a name, and false_before is a count")
    if entry.alarm is not None and entry.alarm.requests < 1:
        raise ValueError("alarm.requests counts from 1, the first broken record")
    return entry
