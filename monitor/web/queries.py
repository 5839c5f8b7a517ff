"""Addresses of the lists: what is asked of them, and links to the same list further on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from pydantic import AfterValidator

from monitor.api.bodies import without_nul
from monitor.api.paths import LARGEST_NUMBER

SearchText = Annotated[str, Query(max_length=256)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
Before = Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER)]
"""The number at which the page before ended."""
VersionQuery = Annotated[Annotated[str, AfterValidator(without_nul)] | None, Query(max_length=128)]
"""Null or empty: the version in charge."""


def address(path: str, asked: Mapping[str, str], **more: str) -> str:
    """Return the address of a list with this filter; ``more`` goes beside it, or replaces it.

    >>> address("/routes", {"q": "tax", "owner": ""}, page="2"), address("/", {})
    ('/routes?q=tax&page=2', '/')
    """
    wanted = {name: value for name, value in {**asked, **more}.items() if value}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def neighbours(
    path: str, asked: Mapping[str, str], *, page: int, last: bool
) -> dict[str, str | None]:
    """Return the addresses of the pages before and after this one; None: there is none."""
    before = address(path, asked, page=str(page - 1) if page > 2 else "")  # noqa: PLR2004 (the first has no number)
    after = address(path, asked, page=str(page + 1))
    return {"previous": before if page > 1 else None, "more": None if last else after}
