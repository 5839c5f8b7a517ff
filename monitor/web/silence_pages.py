"""The page of silences: the list, and the forms to set and end one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from alerts import matching
from alerts.silences import LONGEST, SilenceRefused
from monitor.api.lookup import Number
from monitor.outbox.silencing import expire, silence
from monitor.store import teams
from monitor.store.incidents import silences
from monitor.store.people.keys import Key
from monitor.web.forms import Fields, may_not, no_reason
from monitor.web.frame import Frame, PageGroup

SHOWN: Final = 200
HOUR: Final = timedelta(hours=1)
FACTS: Final = (*matching.NAMES, *matching.WORDS)
"""Fields of the form, each a fact or empty; labels are for the API and the command line."""


class SilencePages(PageGroup):
    """The page of silences, and its forms."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/silences", self.silences)
        self._post("/silences", self.add)
        self._post("/silences/{silence}/expire", self.expire)

    def silences(self, request: Request) -> Response:
        """Show present and future silences, and the form for another one.

        The form begins with what the address says.
        """
        return self._page(request, fields=request.query_params)

    def add(self, request: Request, fields: Fields) -> Response:
        """Set a silence."""
        key = self._frame.form_sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._page(request, refused=refused, status=HTTPStatus.FORBIDDEN)
        try:
            self._set(key, fields)
        except SilenceRefused as why:
            refused = f"Not silenced: {why}."
            return self._page(
                request, fields=fields, refused=refused, status=HTTPStatus.UNPROCESSABLE_ENTITY
            )
        return RedirectResponse("/silences", status_code=HTTPStatus.SEE_OTHER)

    def _set(self, key: Key, fields: Mapping[str, str]) -> None:
        if reason := no_reason(fields):
            raise SilenceRefused(reason.rstrip("."))
        now = self._parts.clock()
        ends_at = now + _hours(fields.get("hours", "")) * HOUR
        match = {name: fields[name] for name in FACTS if fields.get(name)}
        with teams.unbound():
            self._parts.database.run(
                lambda tx: silence(
                    tx,
                    match,
                    starts_at=now,
                    ends_at=ends_at,
                    author=key.name,
                    comment=fields["reason"],
                    now=now,
                    of=key.match,
                )
            )

    def expire(self, request: Request, silence: Number) -> Response:
        """End one now."""
        key = self._frame.sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._page(request, refused=refused, status=HTTPStatus.FORBIDDEN)
        now = self._parts.clock()
        # a silence that is over already needs no error
        with teams.unbound():
            self._parts.database.run(lambda tx: expire(tx, silence, actor=key.name, now=now))
        return RedirectResponse("/silences", status_code=HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        *,
        fields: Mapping[str, str] | None = None,
        refused: str | None = None,
        status: int = HTTPStatus.OK,
    ) -> Response:
        now = self._parts.clock()
        found = self._parts.database.run(
            lambda tx: silences.every(tx, not_over_at=now, limit=SHOWN)
        )
        return self._frame.page(
            "silences.html",
            status=status,
            silences=[(one, matching.to_json(one.matcher)) for one in found],
            words={name: [word.value for word in known] for name, known in matching.WORDS.items()},
            names=matching.NAMES,
            fields=fields or {},
            refused=refused,
            longest=LONGEST.days,
            now=now,
            may_act=self._frame.may_operate(request),
        )


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        raise SilenceRefused("say for how many hours") from None
    if not 0 < hours <= LONGEST / HOUR:
        raise SilenceRefused(f"more than 0 hours, and {LONGEST.days} days at most")
    return hours
