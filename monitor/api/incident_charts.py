"""``/incidents/{incident}/chart.svg``: the signals as an image, for messages that link to it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from monitor.api import lookup
from monitor.api.access import BEARER, identify, scope_missing
from monitor.api.lookup import IncidentNumber
from monitor.api.parts import ApiParts, Parts, parts_of
from monitor.api.problems import Problem
from monitor.domain import Scope
from monitor.incident import draw, read_chart
from monitor.outbox.linking import permits
from monitor.store.people import keys

router: Final = APIRouter(prefix="/incidents", tags=["incidents"])

Width = Annotated[int, Query(ge=300, le=2000, description="In pixels; the height follows.")]
HEADERS: Final = {
    "Cache-Control": "private, max-age=60",
    # messages show the image on another site
    "Cross-Origin-Resource-Policy": "cross-origin",
}


async def viewer(
    request: Request,
    incident: IncidentNumber,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    *,
    expires: Annotated[int | None, Query(ge=0, lt=2**40)] = None,
    signature: Annotated[str | None, Query(max_length=64)] = None,
) -> None:
    """Admit the holder of a signed link that has not ended, or of a key that may read."""
    parts: ApiParts = parts_of(request)
    key = parts.pages.key
    if expires is not None and signature is not None and key is not None:
        now = await run_in_threadpool(parts.clock)
        if permits(key, incident, expires=expires, signed=signature, now=now):
            return
        raise Problem(403, "This link is not ours, or has ended.", kind="link-not-valid")
    known = await identify(request, credentials)
    if not keys.permits(known, Scope.READ):
        raise scope_missing(known, Scope.READ)


@router.get(
    "/{incident}/chart.svg",
    dependencies=[Depends(viewer)],
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, 403: {"description": "A link that ended."}},
)
def get_chart(parts: Parts, incident: IncidentNumber, width: Width = 860) -> Response:
    """Draw an incident's signals on one time axis, with margins and onset.

    Needs a key, or the `expires` and `signature` of a link in a message.
    """
    now = parts.clock()

    def read(tx: Connection) -> str:
        story = lookup.story(tx, incident, parts, now=now)
        return draw(read_chart(tx, story, settings=parts.outlook.settings, now=now), width=width)

    return Response(parts.database.run(read), media_type="image/svg+xml", headers=HEADERS)
