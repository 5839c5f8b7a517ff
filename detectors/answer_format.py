"""`answer_format`: answers in another format than before."""

from __future__ import annotations

from typing import Final

from detectors.rate_detector import RateDetector

FORMATS: Final = ("json", "code", "list", "prose")
"""Formats of an answer; a record stores the index in this tuple."""
FORMAT_SIGNALS: Final = tuple(f"format_{form}" for form in FORMATS)

ANSWER_FORMAT = RateDetector(name="answer_format", signals=FORMAT_SIGNALS, pages=False)
"""Each answer has one format, recognised by its structure: JSON, code, a list or table, prose.

A format that becomes rarer makes another more frequent, so only rises need to be seen. Soft, and a
ticket: a client that asks for another format gets one.

Shown: the largest rise of a format's share over the reference.
"""
