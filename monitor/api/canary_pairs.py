"""``/canaries/{canary}/pairs``: what a shadow and the version in charge said to one prompt."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.shapes import Answer, Page
from monitor.domain import SHADOWED
from monitor.store.shadow_answers import AnsweredTwice, Place, answered_twice

router: Final = APIRouter(prefix="/canaries", tags=["canaries"])


class SideBody(Answer):
    """One of the two answers; ``record`` is what feedback about it names."""

    record: str
    version: str
    answer: str | None


class PairBody(Answer):
    """A prompt that both versions answered.

    Texts are redacted; null where `capture.store_text` keeps none, or not yet.
    """

    at: datetime = Field(description="What feedback about either answer has to name.")
    prompt: str | None
    answered: SideBody
    copied: SideBody


@router.get("/{canary}/pairs")
def get_pairs(
    _key: Reader,
    parts: Parts,
    canary: Number,
    *,
    without: Annotated[
        Name | None,
        Query(description="Only pairs that lack feedback of this name, on either side."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[PairBody]:
    """List prompts that a shadow answered too, the oldest first, for whoever judges answers.

    `limit` counts those that `without` leaves out: a page may be short, or empty, and still
    have a next one.
    """
    after = None if cursor is None else _place(cursor)

    def read(tx: Connection) -> Page[PairBody]:
        row = lookup.canary(tx, canary)
        found, last = answered_twice(tx, row, without=without, after=after, limit=limit)
        return Page(
            items=[_pair(one, control=row.control, trial=row.version) for one in found],
            next=None if last is None else paging.encode(last.at.isoformat(), last.id),
        )

    return parts.database.run(read)


def _place(cursor: str) -> Place:
    at, name = paging.decode(cursor, kinds=(str, str))
    return Place(at=paging.moment(at), id=str(name))


def _pair(one: AnsweredTwice, *, control: str, trial: str) -> PairBody:
    return PairBody(
        at=one.at,
        prompt=one.prompt,
        answered=SideBody(record=one.id, version=control, answer=one.answer),
        copied=SideBody(record=f"{one.id}{SHADOWED}", version=trial, answer=one.copy_answer),
    )
