"""Logins by an OpenID Connect provider: away to it, and back with a session."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Protocol

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.domain import Scope
from monitor.oidc.login import PATIENCE, Attempted, LoginRefused, Oidc
from monitor.oidc.settings import BACK
from monitor.store import audit
from monitor.store.people import keys
from monitor.store.people.keys import Key
from monitor.web.forms import is_from_elsewhere
from monitor.web.frame import Frame
from monitor.web.sessions import read_signed, signed

COOKIE: Final = "driftline_login"
_PURPOSE: Final = b"login by a provider"


class LoginPage(Protocol):
    """Shows the ways to log in, and why the last try failed."""

    def __call__(self, *, refused: str | None = None, status: int = 200) -> Response:
        """Return the page."""
        ...


class OidcLogins:
    """The handlers; they run in the thread pool."""

    def __init__(self, frame: Frame, oidc: Oidc, page: LoginPage) -> None:
        self._frame = frame
        self._parts = frame.parts
        self._oidc = oidc
        self._page = page

    def begin(self, request: Request) -> Response:
        """Send the browser to the provider, with a cookie that it has to bring back."""
        if is_from_elsewhere(request):
            return self._page(status=403, refused="This form was sent by another site.")
        try:
            place, attempted = self._oidc.begin()
        except LoginRefused as why:
            return self._page(status=HTTPStatus.BAD_GATEWAY, refused=str(why))
        ends = int((self._parts.clock() + PATIENCE).timestamp())
        answer = RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            signed(
                [attempted.state, attempted.nonce, attempted.verifier, ends],
                secret=self._parts.secret,
                purpose=_PURPOSE,
            ),
            max_age=int(PATIENCE.total_seconds()),
            path=BACK,
            httponly=True,
            samesite="lax",  # the provider sends the browser back from another site
            secure=request.url.scheme == "https",
        )
        return answer

    def back(self, request: Request) -> Response:
        """Begin the session of who comes back from the provider."""
        now = self._parts.clock()
        try:
            person = self._oidc.finish(request.query_params, self._attempted(request))
        except LoginRefused as why:
            return self._page(status=HTTPStatus.FORBIDDEN, refused=str(why))

        def work(tx: Connection) -> Key:
            made = keys.log_in(
                tx,
                person=person.subject,
                name=person.name,
                scopes={*person.group.scopes, Scope.READ},
                match=person.group.match,
                now=now,
                until=now + self._parts.session,
            )
            audit.append(tx, actor=person.name, act="login", subject=made.id)
            return made

        answer = self._frame.logged_in(request, self._parts.database.run(work), now=now)
        answer.delete_cookie(COOKIE, path=BACK, httponly=True, samesite="lax")
        return answer

    def _attempted(self, request: Request) -> Attempted | None:
        cookie = request.cookies.get(COOKIE, "")
        found = read_signed(cookie, secret=self._parts.secret, purpose=_PURPOSE)
        if found is None:
            return None
        state, nonce, verifier, ends = found
        late = self._parts.clock().timestamp() > ends
        return None if late else Attempted(state=state, nonce=nonce, verifier=verifier)
