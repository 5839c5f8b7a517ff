"""Why a report cannot be made. One class: the reader can only change what was asked for."""

from __future__ import annotations


class ReportError(Exception):
    """The report cannot be made; the message says what is missing, and of which version."""
