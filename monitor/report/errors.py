"""The error of a report that cannot be made: one class, as only the request can change."""

from __future__ import annotations


class ReportError(Exception):
    """The report cannot be made; the message says what is missing, and of which version."""
