"""The frame of every page: the session, its permissions, and the templates."""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jinja2
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from alerts.gist import gist
from detectors.words import name_words
from monitor.api.owning import check_path, of_the_whole
from monitor.domain import Scope
from monitor.evaluate.faults import size_words
from monitor.policy.coverage_words import percent
from monitor.store import teams
from monitor.store.people import keys
from monitor.store.people.keys import Key
from monitor.store.people.words import by_a_person
from monitor.store.standby import primary, read_pages
from monitor.traffic.fallback.gate_names import WHY_BLOCKED
from monitor.web import wording
from monitor.web.forms import read_form
from monitor.web.packing import PackedRoute, packed
from monitor.web.parts import WebParts
from monitor.web.sessions import COOKIE, Session, Sessions

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """All files that pages refer to."""

    def __init__(self) -> None:
        files = [path for path in STATIC.iterdir() if path.suffix in _TYPES]
        self._bodies = {path.name: path.read_bytes() for path in files}
        self._tags = {name: _tag(body) for name, body in self._bodies.items()}

    def url(self, name: str) -> str:
        """Return the address of a file; it changes when the file does."""
        return f"/assets/{self._tags[name]}/{name}"

    def router(self) -> APIRouter:
        """Serve the files; open to everyone, the login page needs them."""
        router = APIRouter(include_in_schema=False)

        @router.get("/assets/{tag}/{name}")
        def get_asset(tag: str, name: str, request: Request) -> Response:
            if self._tags.get(name) != tag:
                raise HTTPException(404)
            headers, media_type = {"Cache-Control": FOREVER}, _TYPES[Path(name).suffix]
            answer = Response(self._bodies[name], headers=headers, media_type=media_type)
            return packed(answer, request)

        return router


def _tag(body: bytes) -> str:
    """Return a short name for a file's content."""
    return hashlib.sha256(body).hexdigest()[:12]


TEMPLATES: Final = Path(__file__).parent / "templates"
TABS: Final = (
    ("/", "Fleet"),
    ("/incidents", "Incidents"),
    ("/routes", "Routes"),
    ("/canaries", "Canaries"),
    ("/silences", "Silences"),
    ("/budget", "Budget"),
    ("/runbooks", "Runbooks"),
    ("/audit", "Service"),
)
"""The pages that everybody with a session may open."""


class Frame:
    """Reads sessions and renders templates, for all groups of pages."""

    def __init__(self, parts: WebParts) -> None:
        self.parts = parts
        self.assets = Assets()
        self.sessions = Sessions(parts.secret, lasts=parts.session)
        self._templates = _environment(self.assets, version=parts.version)

    async def reader(self, request: Request) -> Key:
        """Admit people with a session, who see what their key may; send others to the login."""
        key = await run_in_threadpool(self.viewer, request)
        teams.see(key.match)
        read_pages()
        return key

    async def fleet_reader(self, request: Request) -> None:
        """As :meth:`reader`, for pages about the whole installation."""
        key = await self.reader(request)
        if key.match:
            raise of_the_whole(key)

    async def visitor(self, request: Request) -> None:
        """Admit everybody; links lead people with a session where their key may go."""
        key = await run_in_threadpool(self._known, request)
        teams.see(key.match if key else {})

    def sender(self, request: Request) -> Key:
        """Return the key of who sent a form about what the path names, which is its team's.

        From here on the sender sees what its key may. What the form asks for is done inside
        :func:`monitor.store.teams.unbound`.
        """
        key = self._changer(request)
        check_path(self.parts.database, key, request.path_params)
        teams.see(key.match)
        return key

    def form_sender(self, request: Request) -> Key:
        """As :meth:`sender`, where only the form says what it is about: the handler looks it up."""
        key = self._changer(request)
        teams.see(key.match)
        return key

    def fleet_sender(self, request: Request) -> Key:
        """As :meth:`sender`, of what is of the whole installation."""
        key = self._changer(request)
        if key.match:
            raise of_the_whole(key)
        return key

    def _changer(self, request: Request) -> Key:
        self.parts.database.changed()
        return self.viewer(request)

    def viewer(self, request: Request) -> Key:
        """Return the key of the request's session; without one, send it to the login page."""
        key = self._known(request)
        if key is None:
            raise HTTPException(HTTPStatus.SEE_OTHER, headers={"Location": "/login"})
        return key

    def _known(self, request: Request) -> Key | None:
        session = self.signed_in(request)
        return self.key(session) if session else None

    def signed_in(self, request: Request) -> Session | None:
        """Return the session of the request's cookie, even if its key no longer works."""
        return self.sessions.read(request.cookies.get(COOKIE, ""), now=self.parts.clock())

    def key(self, session: Session) -> Key | None:
        """Return the session's key while it works."""
        now = self.parts.clock()
        with teams.unbound(), primary():
            key = self.parts.database.run(lambda tx: keys.fetch(tx, session.key_id))
        return key if key is not None and key.alive(now) else None

    def logged_in(self, request: Request, key: Key, *, now: datetime) -> Response:
        """Begin a session with a key, at the page of the fleet."""
        answer = RedirectResponse("/", status_code=HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            self.sessions.begin(key.id, now=now),
            max_age=int(self.parts.session.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    def may_operate(self, request: Request) -> bool:
        """Whether the viewer may operate, and so sees buttons that change something."""
        return keys.permits(self.viewer(request), Scope.OPERATE)

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """Render a template."""
        drawn = self.drawn(template, tabs=TABS, bound=teams.bound(), **values)
        return HTMLResponse(drawn, status_code=status, headers=headers)

    def missing(self, what: str, *, version: str | None = None) -> Response:
        """Say in a page that something is not there."""
        return self.page("missing.html", status=404, name=what, version=version)

    def drawn(self, template: str, **values: Any) -> Markup:
        """Render a template to be put on a page."""
        return Markup(self._templates.get_template(template).render(**values))  # noqa: S704


class PageGroup:
    """Pages of one kind and their router; the handlers run in the thread pool."""

    def __init__(self, frame: Frame) -> None:
        self.router = APIRouter(route_class=PackedRoute, include_in_schema=False)
        self._frame = frame
        self._parts = frame.parts

    def _get(self, path: str, handler: Callable[..., Response]) -> None:
        self.router.get(path, dependencies=[Depends(self._frame.reader)])(handler)

    def _post(self, path: str, handler: Callable[..., Response]) -> None:
        self.router.post(path, dependencies=[Depends(read_form)])(handler)


def _environment(assets: Assets, *, version: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=wording.reveal,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset=assets.url, service_version=version)
    environment.filters.update(
        blocked=lambda gate: WHY_BLOCKED.get(gate, gate),
        author=lambda actor: actor if by_a_person(actor) else "Driftline",
        gist=gist,
        verdict=wording.verdict_words,
        clock=wording.clock,
        coded=wording.coded,
        covered=percent,
        ended=wording.ended,
        fault=size_words,
        field=wording.field,
        hour=wording.hour,
        finite=math.isfinite,
        number=wording.number,
        part=wording.path_part,
        said=name_words,
        percent=wording.percent,
        rare=wording.rare,
        share=wording.share,
        shell=shlex.quote,
        signed=wording.signed,
        span=wording.span,
        stamp=wording.stamp,
    )
    return environment
