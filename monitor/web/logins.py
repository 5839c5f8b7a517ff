"""Logins by an OpenID Connect provider: away to it, and back with a session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.api.access import address_of
from monitor.connections import client_network
from monitor.domain import Scope
from monitor.oidc.login import PATIENCE, Attempted, LoginRefused, Oidc, Person
from monitor.store import audit
from monitor.store.people import keys
from monitor.store.people.keys import Key
from monitor.store.people.words import by_a_person
from monitor.throttle import Allowance, Throttle
from monitor.web.forms import is_from_elsewhere
from monitor.web.frame import Frame
from monitor.web.sessions import read_signed, signed

COOKIE: Final = "driftline_login"
HOST_ONLY: Final = f"__Host-{COOKIE}"
"""Its name with TLS: no neighbouring subdomain can set it."""
PER_ADDRESS: Final = Allowance(per_second=0.2, burst=20.0)
"""Logins of one address that come to nothing."""
_PURPOSE: Final = b"login by a provider"
_NOT_PEOPLE: Final = frozenset({"cli", "config"})
"""Authors beside Driftline itself who are nobody's name."""

_LOG: Final = structlog.get_logger(__name__)


def _cookie(request: Request) -> str:
    return HOST_ONLY if request.url.scheme == "https" else COOKIE


def _guarded(request: Request) -> dict[str, Any]:
    """Return how the cookie is kept: the provider sends the browser back from another site."""
    return {"httponly": True, "samesite": "lax", "secure": request.url.scheme == "https"}


def _network(request: Request) -> str:
    return client_network(address_of(request))


class OidcLogins:
    """The handlers; they run in the thread pool."""

    def __init__(self, frame: Frame, oidc: Oidc, page: Callable[..., Response]) -> None:
        self._frame = frame
        self._parts = frame.parts
        self._oidc = oidc
        self._page = page
        self._failures = Throttle(PER_ADDRESS)

    def begin(self, request: Request) -> Response:
        """Send the browser to the provider, with a cookie that it has to bring back."""
        if is_from_elsewhere(request):
            return self._page(
                status=HTTPStatus.FORBIDDEN, refused="Begin at this page: another site led here."
            )
        if self._failures.wait(_network(request)):
            return self._too_many()
        try:
            place, attempted = self._oidc.begin()
        except LoginRefused as why:
            return self._refused(request, why, status=HTTPStatus.BAD_GATEWAY)
        ends = int((self._parts.clock() + PATIENCE).timestamp())
        answer = RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            _cookie(request),
            signed(
                [attempted.state, attempted.nonce, attempted.verifier, ends],
                secret=self._parts.secret,
                purpose=_PURPOSE,
            ),
            max_age=int(PATIENCE.total_seconds()),
            **_guarded(request),
        )
        return answer

    def back(self, request: Request) -> Response:
        """Begin the session of who comes back from the provider."""
        if self._failures.wait(_network(request)):
            return self._too_many()
        now = self._parts.clock()
        try:
            person = self._oidc.finish(request.query_params, self._attempted(request))
            made = self._parts.database.run(lambda tx: self._log_in(tx, person, now=now))
        except LoginRefused as why:
            answer = self._refused(request, why, status=HTTPStatus.FORBIDDEN)
        else:
            answer = self._frame.logged_in(request, made, now=now)
        answer.delete_cookie(_cookie(request), **_guarded(request))
        return answer

    def _log_in(self, tx: Connection, person: Person, *, now: datetime) -> Key:
        names = (person.name, person.own, person.subject)
        try:
            made = keys.log_in(
                tx,
                person=person.subject,
                name=next(one for one in names if by_a_person(one) and one not in _NOT_PEOPLE),
                scopes={*person.group.scopes, Scope.READ},
                match=person.group.match,
                now=now,
                until=now + self._parts.session,
            )
        except ValueError as why:  # a team, and a database without views for teams
            raise LoginRefused(f"Nobody can log in for this group: {why}.") from why
        details = {"person": person.subject, "scopes": sorted(made.scopes), "match": made.match}
        audit.append(tx, actor=made.name, act="login", subject=made.id, details=details)
        return made

    def _refused(self, request: Request, why: LoginRefused, *, status: int) -> Response:
        self._failures.take(_network(request))
        _LOG.warning("login_refused", reason=str(why))
        return self._page(status=status, refused=str(why))

    def _too_many(self) -> Response:
        refused = "Too many logins from this address came to nothing: wait a minute."
        return self._page(status=HTTPStatus.TOO_MANY_REQUESTS, refused=refused)

    def _attempted(self, request: Request) -> Attempted | None:
        cookie = request.cookies.get(_cookie(request), "")
        found = read_signed(cookie, secret=self._parts.secret, purpose=_PURPOSE)
        if found is None:
            return None
        state, nonce, verifier, ends = found
        late = self._parts.clock().timestamp() > ends
        return None if late else Attempted(state=state, nonce=nonce, verifier=verifier)
