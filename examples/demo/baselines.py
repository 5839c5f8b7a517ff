"""Baselines: each version really answers held-out questions, and the answers are uploaded."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from examples.demo.cast import Version
from examples.demo.driftline_client import DriftlineClient
from examples.demo.engine_client import EngineClient
from examples.demo.records import record, reference_lines, stamps
from examples.texts import Part, part

RECORDS: Final = 1_040
"""Baseline records of a version; 1,000 over 14 days are what lets a reference page."""
BATCH: Final = 32
YOUNGEST: Final = timedelta(minutes=1)
"""The newest baseline record is this old: the baseline ends before live traffic begins."""


def make_baseline(
    version: Version, engine: EngineClient, *, advance: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Have a version answer its domain's held-out questions.

    Parameters
    ----------
    advance
        Called with the number of further answers.

    Returns
    -------
    list of dict
        `RECORDS` records whose times are spread over the last 14 days.
    """
    prompts = [pair.prompt for pair in part(version.domain, Part.HELD_OUT)[:RECORDS]]
    times = stamps(len(prompts), end=datetime.now(UTC) - YOUNGEST)
    found: list[dict[str, Any]] = []
    for first in range(0, len(prompts), BATCH):
        asked = prompts[first : first + BATCH]
        replies = engine.answer(version.model, asked)
        found += [
            record(
                record_id=f"{version.model}-baseline-{number:04}",
                prompt=prompts[number],
                reply=reply,
                at=times[number],
            )
            for number, reply in enumerate(replies, start=first)
        ]
        advance(len(asked))
    return found


def upload_baseline(
    version: Version, baseline: Sequence[dict[str, Any]], client: DriftlineClient
) -> None:
    """Upload a version's training texts and baseline as its reference."""
    training = [pair.prompt for pair in part(version.domain, Part.TRAIN)]
    client.upload_reference(version.adapter, version.name, reference_lines(training, baseline))
