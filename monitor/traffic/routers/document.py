"""The route document that routers store, as in ``GET /v1/routes/{adapter}``: write and read it."""

from __future__ import annotations

import json
import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from monitor.domain import Arm, ArmKind, Edition, Route
from monitor.traffic.table import to_json

MOST_ARMS: Final = 64

_Word = Annotated[str, Meta(min_length=1, max_length=512)]


class _Arm(msgspec.Struct):
    arm: ArmKind
    version: _Word
    model: _Word
    weight: Annotated[float, Meta(ge=0.0, le=1.0)]


class _Document(msgspec.Struct):
    adapter: _Word
    generation: Annotated[int, Meta(ge=1)]
    arms: Annotated[list[_Arm], Meta(min_length=1, max_length=MOST_ARMS)]
    epoch: Annotated[int, Meta(ge=0)] = 0


class NotARoute(ValueError):  # noqa: N818 (named as what it is)
    """The document read is no route of this adapter; the message does not quote it."""


def write(route: Route) -> bytes:
    """Write the document; the same route gives the same bytes."""
    return json.dumps(to_json(route), ensure_ascii=False, separators=(",", ":")).encode()


def read(body: bytes, adapter: str) -> tuple[Edition, tuple[Arm, ...]]:
    """Read edition and arms from a document that came from outside.

    Raises
    ------
    NotARoute
        The document is no route, or another adapter's.
    """
    try:
        found = msgspec.json.decode(body, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotARoute("what is there is no route") from None
    if found.adapter != adapter:
        raise NotARoute("what is there is another adapter's route")
    if not all(math.isfinite(arm.weight) for arm in found.arms):
        raise NotARoute("what is there is no route")
    return Edition(found.epoch, found.generation), tuple(
        Arm(arm=arm.arm, version=arm.version, model=arm.model, weight=arm.weight)
        for arm in found.arms
    )
