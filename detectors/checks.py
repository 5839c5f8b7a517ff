"""A check of a version before it may answer people: a number, its limit, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class CheckVerdict(StrEnum):
    """The verdict of one check, or of all."""

    PASS = "pass"  # noqa: S105 (no password)
    SKIPPED = "skipped"
    """It could not be measured; the reason says what is missing."""
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    number
        The measured number; None if it was not measured.
    limit
        Its limit in words, with the config's numbers.
    reason
        What was found, in one sentence with its numbers.
    details
        Further numbers, by name.
    """

    name: str
    verdict: CheckVerdict
    reason: str
    number: float | None = None
    limit: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


_WORST_FIRST: Final = (CheckVerdict.REFUSE, CheckVerdict.WARN)


def worst(checks: Iterable[Check]) -> CheckVerdict:
    """Return the verdict of all checks: one refusal refuses, a skipped check decides nothing.

    >>> worst([])
    <CheckVerdict.PASS: 'pass'>
    >>> found = [CheckVerdict.WARN, CheckVerdict.SKIPPED, CheckVerdict.PASS]
    >>> worst(Check(name="", verdict=one, reason="") for one in found)
    <CheckVerdict.WARN: 'warn'>
    """
    found = {check.verdict for check in checks}
    return next((one for one in _WORST_FIRST if one in found), CheckVerdict.PASS)


def graded(number: float, *, warns: float, refuses: float) -> CheckVerdict:
    """Grade a number of which more is worse; NaN is refused.

    >>> [graded(one, warns=0.1, refuses=0.5).value for one in (0.1, 0.2, float("nan"))]
    ['pass', 'warn', 'refuse']
    """
    if not number <= refuses:
        return CheckVerdict.REFUSE
    return CheckVerdict.WARN if number > warns else CheckVerdict.PASS
