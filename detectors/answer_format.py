"""`answer_format`: answers that come in another form than they did."""

from __future__ import annotations

from typing import Final

from detectors.rate_detector import RateDetector

FORMATS: Final = ("json", "code", "list", "prose")
"""Forms of an answer; its code in a record is the place here."""
FORMAT_SIGNALS: Final = tuple(f"format_{form}" for form in FORMATS)

ANSWER_FORMAT = RateDetector(name="answer_format", signals=FORMAT_SIGNALS, pages=False)
"""Each answer has one form, told by its structure alone: JSON, code, a list or table, prose. A
form that becomes rarer makes another one more frequent, so only rises need to be seen.

Soft, and a ticket: a client that asks for another form gets one.

Shown: the largest rise of a form's share over the reference.
"""
