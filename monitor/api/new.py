"""``GET /adapters/{a}/new``: groups among the requests that are unlike training."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import answers, lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.moments import Bound
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, WindowBody
from monitor.domain import Version
from monitor.evaluate.newness import LONGEST, Group, Newness, NotCompared, new_since, read_newness
from monitor.store import fleet

router: Final = APIRouter(prefix="/adapters/{adapter}", tags=["scores"])


class GrowthBody(Answer):
    """How many times as large the share is as in the interval of the same length before."""

    ratio: float | None = Field(description="null: there was none before.")
    interval: tuple[float, float | None] = Field(
        description="95 % interval of `ratio`; null: no upper limit."
    )


class NeighbourBody(Answer):
    """A training example near a group's centre."""

    row: int = Field(description="Place in the training index, from 1; an upload's own order.")
    similarity: float = Field(description="Cosine to the centre.")


class GroupBody(Answer):
    """Requests that are near each other and far from training."""

    count: int
    subjects: int = Field(description="Different ones; a request without counts for itself.")
    share: float = Field(description="Of all requests compared, in [0, 1].")
    growth: GrowthBody | None = Field(description="null: nothing was compared before.")
    first_seen: datetime
    last_seen: datetime
    cohesion: float = Field(description="Mean cosine of its requests to their centre.")
    similarity: float = Field(description="Mean cosine to their nearest training examples.")
    words: Sequence[str] = Field(description="Most typical first; only such as five subjects used.")
    neighbours: Sequence[NeighbourBody]
    records: Sequence[str] = Field(description="Ids of those nearest to the centre.")
    prompts: Sequence[str] = Field(description="Of these, redacted, where text is stored.")


class NewBody(Answer):
    """What is new, the groups of most subjects first."""

    adapter: str
    version: str
    window: WindowBody
    compared: int = Field(description="Requests with a similarity to training.")
    unlike: int = Field(description="Of these, less similar than `below`.")
    looked_at: int = Field(description="Of these, an even sample that was grouped.")
    below: float = Field(description="5 % of the baseline's requests were less similar.")
    groups: Sequence[GroupBody]


@router.get("/new")
def get_new(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    *,
    version: Annotated[Name | None, Query(description="That in charge.")] = None,
    since: Annotated[
        Bound | None,
        Query(description="The onset of drifting inputs, else a day ago; at most 30 days."),
    ] = None,
) -> NewBody:
    """Group the recent requests that are unlike training, and say what is typical of them."""
    now = parts.clock()
    if since is not None and not now - LONGEST <= since < now:
        raise Problem(422, "`since` is at most 30 days ago, and not to come.", kind="invalid")

    def read(tx: Connection) -> NewBody:
        shown = _version(tx, adapter, version)
        start = since or new_since(tx, shown, now=now)
        return _body(shown, read_newness(tx, shown, since=start, until=now))

    try:
        return parts.database.run(read)
    except NotCompared as error:
        raise Problem(409, f"{error}.", kind="not-compared") from error


def _version(tx: Connection, adapter: str, name: str | None) -> Version:
    if name is not None:
        return lookup.version(tx, adapter, name)
    lookup.adapter(tx, adapter)
    found = fleet.in_charge(tx, adapter)
    if found is None:
        raise Problem(409, f"{adapter!r} has no version yet.", kind="no-version")
    return found


def _body(version: Version, found: Newness) -> NewBody:
    return NewBody(
        adapter=version.adapter,
        version=version.name,
        window=WindowBody(start=found.since, end=found.until),
        compared=found.compared,
        unlike=found.unlike,
        looked_at=found.looked_at,
        below=found.below,
        groups=[_group(group) for group in found.groups],
    )


def _group(group: Group) -> GroupBody:
    growth = group.growth
    return GroupBody(
        count=group.count,
        subjects=group.subjects,
        share=group.share,
        growth=growth
        and GrowthBody(
            ratio=answers.number(growth.ratio),
            interval=(growth.interval[0], answers.number(growth.interval[1])),
        ),
        first_seen=group.first_seen,
        last_seen=group.last_seen,
        cohesion=group.cohesion,
        similarity=group.similarity,
        words=group.words,
        neighbours=[
            NeighbourBody(row=one.row, similarity=one.similarity) for one in group.neighbours
        ],
        records=group.records,
        prompts=group.prompts,
    )
