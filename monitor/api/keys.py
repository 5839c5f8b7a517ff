"""``/keys``: the keys that gateways admit."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Response

from monitor.api.access import FleetReader
from monitor.api.answering import answered
from monitor.api.parts import Parts
from monitor.store.people import keys
from monitor.store.people.keys import ClientsKey
from monitor.views.key import ClientKeyBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/keys", tags=["routing"])


@router.get(
    "/clients",
    response_model=Page[ClientKeyBody],
    responses={304: {"description": "Nothing has changed since the ETag in If-None-Match."}},
)
def get_clients_keys(
    _key: FleetReader,
    parts: Parts,
    *,
    readers: bool = False,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """List the keys that gateways admit: digests of their secrets, and what each is for.

    These are the keys that work and ask adapters; with ``readers`` also those that only read.
    Gateways ask for it every few seconds; of an earlier release, one takes every key that it is
    told of for one that asks.
    """
    now = parts.clock()
    found = parts.database.run(lambda tx: keys.of_clients(tx, now=now))
    page = Page(items=[_body(one) for one in found if one.asks or readers])
    tag = f'"{hashlib.sha256(msgspec.json.encode(page)).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match is not None and if_none_match.removeprefix("W/") == tag:
        return Response(status_code=304, headers=headers)
    return answered(page, headers=headers)


def _body(found: ClientsKey) -> ClientKeyBody:
    return ClientKeyBody(
        key=found.id,
        digest=found.digest.hex(),
        asks=found.asks,
        reads=found.reads,
        adapters=found.adapters,
        per_minute=found.per_minute,
        expires_at=found.expires_at,
    )
