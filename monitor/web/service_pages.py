"""The pages of the service itself: its channels, its audit log, its keys and its settings."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.domain import Scope
from monitor.store import audit
from monitor.store.incidents import deliveries, receivers
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.incidents.receivers import ChannelHealth
from monitor.store.people import changes, keys
from monitor.views.reading import change, message, people
from monitor.web.forms import may_not
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import Before

SHOWN: Final = 100
CHANGES_OF: Final = timedelta(days=30)

KeyId = Annotated[str, Path(max_length=64)]


class ServicePages(PageGroup):
    """The pages of the service, and their buttons."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        fleet = [Depends(frame.fleet_reader)]
        self.router.get("/channels", dependencies=fleet)(self.channels)
        self._get("/audit", self.audit)
        self._get("/keys", self.keys)
        self.router.get("/settings", dependencies=fleet)(self.settings)
        self._post("/deliveries/{delivery}/replay", self.replay)
        self._post("/keys/{key}/revoke", self.revoke)

    def channels(self, request: Request, before: Before = None) -> Response:
        """Show how each channel takes its messages, and the messages that none took."""
        return self._channels(request, before=before)

    def audit(self, before: Before = None) -> Response:
        """Show the changes that were declared, and who did what, newest first."""
        now = self._parts.clock()

        def read(tx: Connection) -> dict[str, Any]:
            found = audit.newest(tx, limit=SHOWN + 1, before=before)
            declared = changes.change_list(tx, since=now - CHANGES_OF, until=now, limit=SHOWN)
            return {
                "entries": [people.entry(one) for one in found[:SHOWN]],
                "older": found[SHOWN - 1].id if len(found) > SHOWN else None,
                "changes": [] if before else [change.change(one) for one in declared],
            }

        seen = self._parts.database.run(read)
        return self._frame.page("audit.html", before=before, **seen)

    def keys(self, request: Request) -> Response:
        """Show all keys, to a key that may administer."""
        return self._keys(request)

    def settings(self) -> Response:
        """Show every setting as the service runs with it."""
        by_section = groupby(self._parts.settings, key=lambda one: one.section)
        sections = [(name, list(found)) for name, found in by_section]
        return self._frame.page("settings.html", sections=sections)

    def replay(self, request: Request, delivery: UUID) -> Response:
        """Send a message again that no channel took."""
        key = self._frame.fleet_sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._channels(request, refused=refused, status=HTTPStatus.FORBIDDEN)

        def work(tx: Connection) -> bool:
            if not deliveries.replay(tx, delivery):
                return False
            audit.append(tx, actor=key.name, act="delivery.replay", subject=str(delivery))
            return True

        if not self._parts.database.run(work):
            refused = "It waits to be sent already, or was taken: look at the list again."
            return self._channels(request, refused=refused, status=HTTPStatus.CONFLICT)
        return RedirectResponse("/channels", status_code=HTTPStatus.SEE_OTHER)

    def revoke(self, request: Request, key: KeyId) -> Response:
        """Revoke a key for good."""
        sender = self._frame.fleet_sender(request)
        refused = may_not(request, sender, scope=Scope.ADMIN)
        if refused is not None:
            return self._keys(request, refused=refused, status=HTTPStatus.FORBIDDEN)
        now = self._parts.clock()

        def work(tx: Connection) -> bool:
            if not keys.revoke(tx, key, now=now):
                return False
            audit.append(tx, actor=sender.name, act="key revoked", subject=key)
            return True

        if not self._parts.database.run(work):
            refused = "There is no such key, or it was revoked before."
            return self._keys(request, refused=refused, status=HTTPStatus.CONFLICT)
        return RedirectResponse("/keys", status_code=HTTPStatus.SEE_OTHER)

    def _channels(
        self,
        request: Request,
        *,
        before: int | None = None,
        refused: str | None = None,
        status: int = HTTPStatus.OK,
    ) -> Response:
        def read(tx: Connection) -> dict[str, Any]:
            health = receivers.health(tx)
            dead = deliveries.newest(
                tx, state=DeliveryState.DEAD, before_seq=before, limit=SHOWN + 1
            )
            return {
                "channels": [
                    message.channel(one, health.get(one.name, ChannelHealth()))
                    for one in self._parts.known_channels
                ],
                "dead": [message.delivery(one) for one in dead[:SHOWN]],
                "older": dead[SHOWN - 1].seq if len(dead) > SHOWN else None,
            }

        seen = self._parts.database.run(read)
        return self._frame.page(
            "channels.html",
            status=status,
            refused=refused,
            may_act=self._frame.may_operate(request),
            **seen,
        )

    def _keys(
        self, request: Request, *, refused: str | None = None, status: int = HTTPStatus.OK
    ) -> Response:
        own = self._frame.viewer(request)
        now = self._parts.clock()
        if keys.permits(own, Scope.ADMIN):
            known = self._parts.database.run(keys.fetch_all)
        else:
            refused = refused or may_not(request, own, scope=Scope.ADMIN)
            known, status = [], HTTPStatus.FORBIDDEN
        return self._frame.page(
            "keys.html",
            status=status,
            refused=refused,
            keys=[people.key(one, now=now) for one in known],
            own=own.id,
            now=now,
        )
