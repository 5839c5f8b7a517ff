"""The inbox of incidents: open, acknowledged, and ended."""

from __future__ import annotations

from typing import Any, Final

from fastapi.responses import Response
from sqlalchemy import Connection

from alerts.types import Blame
from monitor.api import paging
from monitor.api.paging import Cursor
from monitor.domain import VerdictSeverity
from monitor.outbox.silencing import silenced
from monitor.store.incidents import inbox
from monitor.store.incidents.inbox import InboxState, IncidentFilter, IncidentOrder, read_inbox
from monitor.views.reading import incident
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import SearchText, address
from monitor.web.traffic import waiting

SHOWN: Final = 50
FILTERS: Final = ("severity", "blame", "adapter", "owner", "base")


class InboxPages(PageGroup):
    """The page of incidents."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/incidents", self.show)

    def show(
        self,
        *,
        state: InboxState = InboxState.OPEN,
        severity: SearchText = "",
        blame: SearchText = "",
        adapter: SearchText = "",
        owner: SearchText = "",
        base: SearchText = "",
        order: IncidentOrder = IncidentOrder.SEVERITY,
        cursor: Cursor = None,
    ) -> Response:
        """Show the incidents of one state. An empty field of the form means any."""
        chosen = dict(zip(FILTERS, (severity, blame, adapter, owner, base), strict=True))
        wanted = IncidentFilter(
            states=(state,),
            severity=VerdictSeverity(severity) if severity in set(VerdictSeverity) else None,
            blame=Blame(blame) if blame in set(Blame) else None,
            adapter=_named(adapter),
            owner=_named(owner),
            base=_named(base),
        )
        now = self._parts.clock()
        after = paging.after_incident(cursor)

        def read(tx: Connection) -> dict[str, Any]:
            found = read_inbox(tx, wanted, now=now, order=order, after=after, limit=SHOWN)
            return {
                "found": found,
                "rows": [incident.summary(row) for row in found.rows],
                "silenced": silenced(tx, found.rows, now=now),
                "asking": {f"{one.adapter}@{one.version}" for one in waiting(tx, None)},
                "owners": inbox.owners(tx),
                "bases": inbox.bases(tx),
            }

        seen = self._parts.database.run(read)
        rows = seen["found"].rows
        asked = {**chosen, "order": order.value}
        older = paging.encode(*inbox.place(rows[-1])) if seen["found"].more else None
        return self._frame.page(
            "inbox.html",
            now=now,
            state=state,
            order=order,
            chosen=chosen,
            filtered=any(chosen.values()),
            links={one: address("/incidents", asked, state=one) for one in InboxState},
            older=address("/incidents", asked, state=state, cursor=older) if older else None,
            newest=address("/incidents", asked, state=state) if cursor else None,
            severities=[VerdictSeverity.PAGE, VerdictSeverity.TICKET],
            blames=list(Blame),
            **seen,
        )


def _named(text: str) -> str | None:
    return text.replace("\x00", "") or None
