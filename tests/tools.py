"""Programs that ``make test`` installs: without one its tests skip, but never in CI."""

import os

import pytest


def needs(there: object, how: str) -> pytest.MarkDecorator:
    """Mark tests to be skipped where a program is not ``there``; ``how`` it comes is the reason."""
    return pytest.mark.skipif(_may_be_missing(there), reason=how)


def skip_unless(there: object, how: str) -> None:
    """Skip the running test as :func:`needs` does; in CI fail it."""
    if _may_be_missing(there):
        pytest.skip(how)
    assert there, how


def _may_be_missing(there: object) -> bool:
    return not there and "CI" not in os.environ
