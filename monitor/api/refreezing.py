"""``/references/refreeze``: the references of many adapters frozen anew in one act."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from fastapi import APIRouter
from pydantic import Field

from monitor.api import answers
from monitor.api.access import Operator
from monitor.api.bodies import RefreezeRequest
from monitor.api.parts import Parts
from monitor.api.shapes import Answer, WindowBody
from monitor.domain import Interval
from monitor.reference.refreeze import refreeze

router: Final = APIRouter(prefix="/references", tags=["reference"])


class RefrozenBody(Answer):
    """What became of one adapter."""

    adapter: str
    version: str | None
    generation: int | None = Field(description="Being built; null: it was left alone.")
    records: int = Field(description="Of the version in the window.")
    error: str | None = Field(description="Why it was left alone.")


class RefreezeBody(Answer):
    """A row for each chosen adapter, by name."""

    window: WindowBody
    items: Sequence[RefrozenBody]


@router.post("/refreeze", status_code=202)
def post_refreeze(key: Operator, parts: Parts, body: RefreezeRequest) -> RefreezeBody:
    """Freeze the last days of many adapters; what fails for one loses no other's."""
    now = parts.clock()
    window = Interval(start=now - timedelta(days=body.days), end=now)
    rows = refreeze(parts.database, match=body.match, window=window, cause=body.cause, by=key.name)
    names = RefrozenBody.model_fields
    return RefreezeBody(
        window=answers.window(window),
        items=[RefrozenBody(**{name: getattr(row, name) for name in names}) for row in rows],
    )
