"""Why a reference cannot be built."""

from __future__ import annotations


class Unbuildable(Exception):  # noqa: N818 - reads better where it is caught
    """What was sent, or the window that was named, can never become a reference."""
