"""The error of a reference that cannot be built."""

from __future__ import annotations


class Unbuildable(Exception):  # noqa: N818 - reads better where it is caught
    """The upload, or the window, can never become a reference."""
