"""The page of an incident, with the actions that a person can take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from alerts.types import Kind
from alerts.words import rate_words
from monitor.api.lookup import Number
from monitor.api.owning import check
from monitor.api.paths import LARGEST_NUMBER
from monitor.api.ranges import LONGEST
from monitor.domain import ActionId, Edition, IncidentId, Mark
from monitor.evaluate.retraining import NotRequested
from monitor.incident.chart_reading import read_chart
from monitor.incident.examples import all_requests, read_examples
from monitor.incident.moving import TrafficMove, move, read_choices, unproven
from monitor.incident.reading import IncidentStory, read_story
from monitor.incident.signals import Chart
from monitor.incident.smoke import ComparedAnswers, NotAskable, note_asked
from monitor.outbox.acknowledging import NotOpen, acknowledge
from monitor.outbox.marking import NotMarkable, Word, mark
from monitor.reference.accept import accept
from monitor.store import teams
from monitor.store.errors import Conflict, NotFound
from monitor.store.people.keys import Key
from monitor.store.records import capture_counts
from monitor.store.registry import adapters
from monitor.store.traffic import retrainings, trainings
from monitor.traffic.fallback.breaker import ActionNotOpen
from monitor.views.incident import IncidentExamples, MomentBody
from monitor.views.reading import coverage
from monitor.views.reading import incident as incident_reading
from monitor.web import canaries, wording
from monitor.web.answering import read_answering
from monitor.web.charts import drawing, families
from monitor.web.forms import Fields, may_not, no_reason
from monitor.web.frame import Frame, PageGroup
from monitor.web.kept import KeptForAMinute
from monitor.web.queries import address
from monitor.web.request_pages import TEXTS
from monitor.web.sections import Section, drawn

IN_HAND_FOR: Final = timedelta(hours=24)
LEAD_WIDE: Final = (1120, 220)
"""Width and height of the chart that matters most, on a wide screen and on a narrow one."""
LEAD_NARROW: Final = (360, 160)
WIDE: Final = (1120, 74)
NARROW: Final = (360, 74)


class FormRefused(Exception):  # noqa: N818 - what a person asked for is not done, and why
    """The refusal shown above the page; ``status`` is the HTTP status of the answer."""

    def __init__(self, why: str, *, status: int) -> None:
        super().__init__(why)
        self.status = status


class IncidentPages(PageGroup):
    """The page of an incident, and its buttons."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/incidents/{incident}", self.show)
        self._post("/incidents/{incident}/do", self.do)
        self._post("/incidents/{incident}/answers", self.answers)
        self._examples: KeptForAMinute[IncidentId, IncidentExamples] = KeptForAMinute()
        self._acts: Mapping[str, Callable[[IncidentId, Key, Mapping[str, str]], None]] = {
            "ack": self._acknowledge,
            "approve": self._approve,
            "retrain": self._retrain,
            **dict.fromkeys(TrafficMove, self._move),
            **dict.fromkeys(Mark, self._mark),
        }

    def show(self, incident: Number) -> Response:
        """Show one incident."""
        return self._page(incident)

    def answers(self, request: Request, incident: Number) -> Response:
        """Send the adapter's smoke prompts to its models; show the answers, unstored."""
        key = self._frame.sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._page(incident, refused=refused, status=HTTPStatus.FORBIDDEN)
        story = self._parts.database.run(lambda tx: self._story(tx, incident))
        if story is None:
            return self._page(incident)
        try:
            exchanges = self._parts.smoke.ask(story)
        except NotAskable as why:
            return self._page(incident, refused=str(why), status=HTTPStatus.CONFLICT)
        with teams.unbound():
            self._parts.database.run(lambda tx: note_asked(tx, story, by=key.name))
        return self._page(incident, exchanges=exchanges)

    def do(self, request: Request, incident: Number, fields: Fields) -> Response:
        """Carry out the action of a button, if the session's key may operate."""
        key = self._frame.sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._page(incident, refused=refused, status=HTTPStatus.FORBIDDEN)
        act = self._acts.get(fields.get("do", ""))
        if act is None:
            return self._page(incident, refused="Press one of the buttons.", status=422)
        try:
            with teams.unbound():
                act(IncidentId(incident), key, fields)
        except (LookupError, NotOpen, NotMarkable) as why:
            return self._page(incident, refused=str(why), status=HTTPStatus.CONFLICT)
        except (NotRequested, Conflict) as why:
            return self._page(incident, refused=f"{why}.", status=HTTPStatus.CONFLICT)
        except FormRefused as why:
            return self._page(incident, refused=str(why), status=why.status)
        return RedirectResponse(f"/incidents/{incident}", status_code=HTTPStatus.SEE_OTHER)

    def _page(
        self,
        incident: int,
        *,
        refused: str | None = None,
        status: int = 200,
        exchanges: Sequence[ComparedAnswers] = (),
    ) -> Response:
        now = self._parts.clock()

        def read(tx: Connection) -> dict[str, Any] | None:
            story = self._story(tx, incident)
            if story is None:
                return None
            chart = read_chart(tx, story, settings=self._parts.outlook.settings, now=now)
            return {
                "story": story,
                "seen": incident_reading.detail(story, chart, now=now),
                "choices": read_choices(tx, story, now=now),
                **_retraining(tx, story),
                **_serving(tx, story, now=now),
                "coverage": coverage.newest(story.judged),
                "mend": coverage.mending(
                    story.judged, story.version, self._parts.outlook.settings.policy
                ),
                "coverage_last_day": coverage.last_day(tx, story.version, now=now),
                **_drawings(chart, fleet=story.version is None),
            }

        seen = self._parts.database.run(read)
        if seen is None:
            return self._frame.missing(f"incident {incident}")
        sections = drawn(self._frame, self._sections(seen.pop("story"), now=now))
        adapter = seen["seen"].adapter
        return self._frame.page(
            "incident.html",
            status=status,
            refused=refused,
            now=now,
            prompts=len(self._parts.smoke.prompts_of(adapter)) if adapter else 0,
            exchanges=exchanges,
            sections=sections,
            timeline=repeats(seen["seen"].timeline),
            **seen,
        )

    def _sections(self, story: IncidentStory, *, now: datetime) -> list[Section]:
        database, row, version = self._parts.database, story.row, story.version

        def examples() -> Mapping[str, Any]:
            found = self._examples.of(
                row.id,
                lambda: database.run(
                    lambda tx: incident_reading.examples(read_examples(tx, story)), attempts=1
                ),
                now=now,
            )
            return {"examples": found.items, "all": _all_requests(story, now=now), **TEXTS}

        def trial() -> Mapping[str, Any]:
            if row.kind != Kind.CANARY or version is None:
                return {"trial": None}
            found = database.run(
                lambda tx: canaries.read_trial(tx, version, by=row.opened_at), attempts=1
            )
            shown, guards = found or (None, ())
            return {"trial": shown, "guards": guards, "rack": canaries.RACK}

        return [
            Section(name="examples", title="Requests that show it", read=examples),
            Section(name="trial", title="Its canary", read=trial),
        ]

    def _story(self, tx: Connection, incident: int) -> IncidentStory | None:
        return read_story(
            tx,
            IncidentId(incident),
            margin=self._parts.outlook.live_interval,
            now=self._parts.clock(),
        )

    def _acknowledge(self, incident: IncidentId, key: Key, _fields: Mapping[str, str]) -> None:
        now = self._parts.clock()
        self._parts.database.run(
            lambda tx: acknowledge(
                tx, incident, by=key.name, lasts=IN_HAND_FOR, now=now, hearers=self._parts.hearers
            )
        )

    def _mark(self, incident: IncidentId, key: Key, fields: Mapping[str, str]) -> None:
        word = Word(
            mark=Mark(fields["do"]), by=key.name, because=_reason(fields), at=self._parts.clock()
        )
        act = mark if word.mark is Mark.FALSE_PAGE else accept
        self._parts.database.run(lambda tx: act(tx, incident, word, hearers=self._parts.hearers))

    def _retrain(self, incident: IncidentId, key: Key, fields: Mapping[str, str]) -> None:
        """Request the retraining of the incident's adapter, as `driftline retraining request`."""
        because = _reason(fields)
        story = self._parts.database.run(lambda tx: self._story(tx, incident))
        if story is None or story.row.adapter is None:
            raise LookupError(f"Incident {incident} is of no single adapter.")
        self._parts.retrainings.request(story.row.adapter, by=key.name, why=because)

    def _move(self, incident: IncidentId, key: Key, fields: Mapping[str, str]) -> None:
        epoch = _number(fields, "epoch") if "epoch" in fields else 0  # whichever is in force
        seen = Edition(epoch, _number(fields, "generation"))
        because = _reason(fields)
        self._prove(incident, TrafficMove(fields["do"]))

        def work(tx: Connection) -> None:
            now = self._parts.clock()
            story = self._story(tx, incident)
            if story is None:
                raise LookupError(f"There is no incident {incident}.")
            move(
                tx,
                story,
                read_choices(tx, story, now=now),
                TrafficMove(fields["do"]),
                edition=seen,
                by=key.name,
                because=because,
                now=now,
            )

        self._parts.database.run(work)

    def _prove(self, incident: IncidentId, wanted: TrafficMove) -> None:
        """Refuse a version that is not served, before the transaction that moves traffic to it."""

        def prepare(tx: Connection) -> Callable[[], list[str]]:
            story = self._story(tx, incident)
            if story is None:
                raise LookupError(f"There is no incident {incident}.")
            choices = read_choices(tx, story, now=self._parts.clock())
            return unproven(tx, story, choices, wanted, proof=self._parts.proof)

        if missing := self._parts.database.run(prepare)():
            raise FormRefused(f"{missing[0]}.", status=HTTPStatus.CONFLICT)

    def _approve(self, _incident: IncidentId, key: Key, fields: Mapping[str, str]) -> None:
        """Carry out the action that the person saw; its conditions are checked again."""
        action = ActionId(_number(fields, "action"))
        self._parts.database.run(lambda tx: check(tx, key, action=action))
        try:
            self._parts.approver.approve(action, actor=key.name, now=self._parts.clock())
        except (NotFound, ActionNotOpen) as why:
            raise FormRefused(
                f"It is not open any more: {why}.", status=HTTPStatus.CONFLICT
            ) from why


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Lines of a timeline that follow each other and say the same."""

    first: MomentBody
    last: MomentBody
    times: int


def repeats(timeline: Iterable[MomentBody]) -> list[Repeats]:
    """Put neighbours that say the same into one line."""
    found = (list(run) for _, run in groupby(timeline, key=lambda one: (one.text, one.bad)))
    return [Repeats(first=run[0], last=run[-1], times=len(run)) for run in found]


def _drawings(chart: Chart, *, fleet: bool) -> dict[str, Any]:
    """Draw the signal that matters most large, the others small; a fleet's members all large."""
    if fleet:
        return {"moved": drawing(chart, chart.signals, wide=WIDE, narrow=NARROW), "families": []}
    large = [signal for signal in chart.signals if signal.crossed][:1]
    small = [signal for signal in chart.signals if not any(signal is one for one in large)]
    return {
        "moved": drawing(chart, large, wide=LEAD_WIDE, narrow=LEAD_NARROW),
        "families": families(chart, small),
    }


def _serving(tx: Connection, story: IncidentStory, *, now: datetime) -> dict[str, Any]:
    """Read who answers now and how many requests a move concerns; nothing of a fleet incident."""
    if story.version is None:
        row = story.row
        facts = {"severity": row.severity.value, "kind": row.kind, "blame": row.blame.value}
        return {"answering": None, "rate": "", "silence_query": urlencode(facts)}
    adapter = adapters.fetch_by_id(tx, story.version.adapter_id)
    per_second = capture_counts.per_second(
        tx, adapter_id=adapter.id, known_since=adapter.created_at, now=now
    )
    return {
        "answering": read_answering(tx, story.route, adapter_id=adapter.id, now=now),
        "rate": rate_words(per_second) if per_second else "",
        "silence_query": urlencode({"adapter": adapter.name}),
    }


def _retraining(tx: Connection, story: IncidentStory) -> dict[str, Any]:
    """Read the newest request to retrain the incident's adapter, and its training."""
    of = story.version
    found = retrainings.request_list(tx, adapter_id=of.adapter_id, limit=1) if of else []
    begun = trainings.of(tx, [one.id for one in found])
    return {"retraining": next(iter(found), None), "training": next(iter(begun.values()), None)}


def _reason(fields: Mapping[str, str]) -> str:
    wrong = no_reason(fields)
    if wrong is not None:
        raise FormRefused(wrong, status=HTTPStatus.FORBIDDEN)
    return fields["reason"]


def _all_requests(story: IncidentStory, *, now: datetime) -> str:
    """Return the address of the list of all its requests; empty for a fleet incident."""
    version, found = story.version, all_requests(story)
    if version is None:
        return ""
    since = max(found.since, now - LONGEST + timedelta(days=1))  # the link may wait to be followed
    asked = {
        "version": version.name,
        "from": wording.field(since),
        "order": found.order.value,
        "failed": "true" if found.failed else "",
    }
    return address(f"/adapters/{wording.path_part(version.adapter)}/requests", asked)


def _number(fields: Mapping[str, str], name: str) -> int:
    """Read a number that the page itself wrote into the form."""
    text = fields.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(LARGEST_NUMBER))):
        raise FormRefused(f"The form names no {name}.", status=422)
    return int(text)
