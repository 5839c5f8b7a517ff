"""Text of users stays text: no script runs, no rule is broken, nothing leaves the page."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import Connection

from alerts.matching import parse_matcher
from alerts.types import VerdictKind
from monitor.domain import (
    ChangeKind,
    IncidentId,
    Interval,
    Mark,
    Scope,
    Verdict,
    VerdictSeverity,
    Version,
)
from monitor.incident.smoke import SmokeTest
from monitor.outbox.acknowledging import acknowledge
from monitor.outbox.channels import ChannelFacts
from monitor.outbox.marking import Hearers
from monitor.probes.corpus import Document
from monitor.probes.smoke import Questioner, SmokeAnswer
from monitor.store import audit, partitions
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, reports, verdicts
from monitor.store.incidents import incidents, outbox, silences
from monitor.store.people import changes, keys
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions, canaries, canary_looks, retrainings, trainings
from monitor.store.traffic.actions import ActionKind, ActionState
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.store.traffic.retrainings import NewRetraining, RetrainCause
from monitor.traffic.trial.guards import GuardKind
from monitor.traffic.trial.measure import GuardFound, GuardOutcome
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryState, Pause, Phase, to_json
from tests import newcomers, worlds
from tests.serving import Serving, serving
from tests.web.conftest import Looker

# Heads and tails of the usual cheat sheets; each pair is one way out of one context.
ACTIONS = ("alert(1)", "confirm`1`", "window.pwned=1", "fetch('//evil.test')", "print()")
FRAMES = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    "<img src=x onerror={}>",
    "<svg/onload={}>",
    "<svg><script>{}</script></svg>",
    '"><script>{}</script>',
    "' onmouseover={} x='",
    '" autofocus onfocus={} x="',
    "javascript:{}",
    "<a href=javascript:{}>x</a>",
    "<iframe srcdoc='<script>{}</script>'>",
    "<style>@import'//evil.test/{}'</style>",
    "<link rel=stylesheet href=//evil.test/{}>",
    "<meta http-equiv=refresh content=0;url=javascript:{}>",
    "<math><mtext></p><img src onerror={}>",
    "{{{{constructor.constructor('{}')()}}}}",
    "{{% include '{}' %}}",
    "${{{}}}",
    "<b style=background:url(//evil.test/{})>x</b>",
    "<details open ontoggle={}>",
    "<body onload={}>",
    "<video><source onerror={}>",
    "<form action=//evil.test><button autofocus>{}",
    "<base href=//evil.test/>{}",
    "<object data=//evil.test/{}>",
    "<template><script>{}</script></template>",
    "&lt;script&gt;{}&lt;/script&gt;",
    "\u202e<script>{}</script>",
    "\x1b]0;{}\x07<x>",
    "<!--><script>{}</script>",
    "]]><script>{}</script>",
    "<scr\tipt>{}</scr\tipt>",
    "<a href='data:text/html,<script>{}</script>'>x</a>",
    '<noscript><p title="</noscript><img src onerror={}>">',
    "\u2028</title><script>{}</script>",
    "<input autofocus onfocus={}>",
    "%3Cscript%3E{}%3C/script%3E",
    "<img src=//evil.test/{}>",
    "<image href=x onerror={} />",
    "<a xlink:href=javascript:{}>x</a>",
)
PAYLOADS = [frame.format(action) for frame in FRAMES for action in ACTIONS]


class Parrot:
    """Stands for engines whose models answer with hostile text, one after the other."""

    def __init__(self) -> None:
        self.engines = self
        self.said = itertools.cycle(PAYLOADS)

    def base_of(self, model: str) -> str:
        return f"base of {model}"

    def answers(
        self, model: str, prompts: Sequence[Document], *, until: float
    ) -> list[SmokeAnswer]:
        del model, until
        return [
            SmokeAnswer(text=next(self.said)) if number % 2 else SmokeAnswer(why_not=one.text)
            for number, one in enumerate(prompts)
        ]


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    prompts = [Document(id=text[:128], text=f"{text}\n{text}") for text in PAYLOADS[:10]]
    smoke = SmokeTest(questioner=cast("Questioner", Parrot()), default=prompts)
    channels = [ChannelFacts(name=text, kind="webhook", fallback=text) for text in PAYLOADS]
    with serving(database, tmp_path, smoke=smoke, known_channels=channels) as running:
        yield running


def _hostile(tx: Connection, payload: str) -> Version:
    name = payload[:128]
    adapter = adapters.put(
        tx,
        name=name,
        owner=payload,
        tier=payload,
        labels={payload: payload},
        runbook=payload,
    )
    version = versions.put(
        tx, adapter=adapter, name=name, model=payload, metadata={payload: payload},
        parent=payload, uri=payload, sha256=payload, base_model=payload,
    )  # fmt: skip
    verdict = Verdict(
        kind=VerdictKind.CRITICAL,
        severity=VerdictSeverity.PAGE,
        reason=payload,
        detectors=(payload,),
        since=datetime.now(UTC),
    )
    worlds.put_verdict(tx, version, verdict, drift=50.0)
    worlds.put_change(tx, version, before=VerdictKind.STABLE, after=verdict, at=datetime.now(UTC))
    worlds.add_reference(tx, version, now=datetime.now(UTC))
    worlds.table.start(tx, version, actor=payload, now=datetime.now(UTC))
    worlds.put_incident(tx, version, verdict)
    return version


def test_two_hundred_payloads_in_every_field_stay_text(
    service: Serving, look: Callable[..., Looker]
) -> None:
    assert len(PAYLOADS) == 200
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        partitions.ensure(tx, [now.date()], tables=["scores"])
        made = [_hostile(tx, payload.replace("\x00", "")) for payload in PAYLOADS]
    looker = look()
    looker.log_in(Scope.ADMIN)
    shown = ""
    while True:
        shown += looker.page.inner_text("tbody")
        if not looker.page.locator("a[rel=next]").count():
            break
        looker.click("a[rel=next]")
    assert "<script>alert(1)</script>" in shown
    assert "\\u202e" in shown
    _calm(looker)
    for number, version in enumerate(made[:: len(ACTIONS)]):  # one page for each frame
        _everything(service, version, now=now)
        looker.open_reasons(f"/adapters/{worlds.path_part(version.adapter)}")
        assert looker.page.locator('[data-live="new"] .themes > li').count() == 1
        _calm(looker)
        looker.open(f"/incidents/{_incident(service, version)}")
        if number % 2:  # twenty times ten answers: every payload once
            looker.click("#answers button")
            looker.page.wait_for_selector("#answers blockquote")
            assert looker.page.locator("#answers dd").count() == 20  # it and its base
        assert looker.page.locator("svg.signals text").count() > 10
        _calm(looker)
    for version in made[:: 2 * len(ACTIONS)]:
        with service.database.begin() as tx:
            report = _said(tx, version, _incident(service, version), now=now)
        _toured(service, looker, version, report)
    for path in ("/settings", "/docs", "/runbooks"):  # they are the same whoever wrote what
        looker.open(path)
        _calm(looker)
    looker.open("/silences")
    assert "<script>alert(1)</script>" in looker.page.inner_text("main")
    name = worlds.path_part(made[0].adapter)
    for path in ("/routes", f"/routes/{name}", "/canaries", "/canaries/1", "/canaries/new?of=1",
                 "/budget", "/channels", "/keys", "/incidents"):  # fmt: skip
        looker.open(path)
        assert PAYLOADS[0] in looker.page.inner_text("main"), path
        _calm(looker)


def test_no_address_of_a_page_fails_because_of_its_characters(service: Serving) -> None:
    with service.database.begin() as tx:
        support = adapters.put(tx, name="support")
        versions.put(tx, adapter=support, name="v1", model="support@v1")
    pages = [
        one
        for one in service.app.routes
        if isinstance(one, APIRoute) and one.path in set(service.pages("GET"))
    ]
    places = [re.sub(r"\{(adapter|name|tag)\}", "%00", one.path) for one in pages]
    places += [
        f"{one.path.replace('{adapter}', 'support')}?{name}={text}"
        for one in pages
        for name in _query(one.dependant)
        for text in ("%00", "%ED%A0%80", "")
    ]
    places = [one.replace("{form}", "page") for one in places]
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.ADMIN]})
        codes = {one: client.get(re.sub(r"\{\w+\}", "1", one)).status_code for one in places}
    assert {place: code for place, code in codes.items() if code >= 500} == {}
    assert codes["/adapters/%00"] == codes["/routes/%00"] == 422
    assert codes["/adapters/support?version=%00"] == 422
    assert codes["/adapters/support?version="] == 200


def _query(of: Dependant) -> Iterator[str]:
    yield from (one.alias for one in of.query_params)
    for inner in of.dependencies:
        yield from _query(inner)


def _said(tx: Connection, version: Version, incident: IncidentId, *, now: datetime) -> int:
    """Let people and workers write the text wherever they can; give the number of a report."""
    text = version.adapter
    acknowledge(tx, incident, by=text, lasts=timedelta(hours=2), now=now, hearers=Hearers())
    incidents.mark(tx, incident, Mark.ACCEPTED, by=text, because=text, at=now)
    keys.create(tx, name=text, scopes=[Scope.READ])
    window = Interval(start=now - timedelta(days=1), end=now)
    asked = retrainings.add(
        tx,
        NewRetraining(
            version=version, cause=RetrainCause.INPUT, reason=text, window=window, below=None,
            replay_share=0.1, evidence={},
        ),
        now=now,
    )  # fmt: skip
    trainings.begin(tx, asked.id, worker=text)
    trainings.cancel(tx, asked.id, reason=text)
    number = reports.ask(tx, version.id, window)
    held = reports.claim(tx)
    assert held is not None
    reports.fail(tx, held, error=text)
    return number


def _toured(service: Serving, looker: Looker, version: Version, report: int) -> None:
    name, own = worlds.path_part(version.adapter), worlds.path_part(version.name)
    for path in (
        f"/adapters/{name}?version={own}",
        f"/adapters/{name}/requests?version={own}&order=least_similar",
        f"/adapters/{name}/requests?id={name}&finish={name}",
        f"/adapters/{name}/versions?left={own}&right={own}",
        f"/adapters/{name}/report/{report}?version={own}",
        f"/routes/{name}",
        f"/incidents/{_incident(service, version)}",
        f"/incidents?adapter={name}&base={name}&owner={name}&state=acknowledged",
        f"/?q={name}&owner={name}&tier={name}&base={name}",
        f"/silences?adapter={name}&reason={name}",
        f"/runbooks/{name}",
    ):
        looker.open(path)
        shown = looker.page.content()
        assert "alert(1)" in shown, path
        missing = [said for said in looker.complaints if "404 (Not Found)" in said]
        assert len(missing) <= 1, "only there is no such runbook"
        looker.complaints[:] = [said for said in looker.complaints if said not in missing]
        _calm(looker)
    looker.open("/audit")
    _calm(looker)


def _incident(service: Serving, version: Version) -> IncidentId:
    adapter = version.adapter_id
    [found] = service.database.run(
        lambda tx: worlds.incidents.incident_list(tx, adapter_id=adapter)
    )
    return found.id


def _everything(service: Serving, version: Version, *, now: datetime) -> None:
    text = version.adapter
    score = worlds.a_score(version, text, now, value=1.0, notice=1.0, page=1.0, effect=0.5)
    with service.database.begin() as tx:
        evaluations.put_scores(tx, [score])
        (incident,) = worlds.incidents.incident_list(tx, adapter_id=version.adapter_id)
        alert = {"status": text, "summary": text}
        outbox.enqueue(tx, channel=text, alert=alert, incident_id=incident.id)
        subject = f"incident {incident.id}"
        audit.append(tx, actor=text, act="incident.ack", subject=subject, details={"reason": text})
        actions.add(
            tx, version, kind=ActionKind.FALLBACK, state=ActionState.RECOMMENDED,
            reason=text, evidence={}, expected_generation=1, target=None, actor=text, now=now,
        )  # fmt: skip
        changes.add(
            tx,
            changes.Declaration(
                kind=ChangeKind.PROMPT, title=text, adapters=(version.adapter,),
                begun_at=now, ended_at=None, author=text,
            ),
        )  # fmt: skip
        silences.add(
            tx, parse_matcher({"adapter": text, "labels": {text: text}}),
            starts_at=now, ends_at=now + timedelta(hours=1), author=text, comment=text,
        )  # fmt: skip
        verdicts.history(tx, adapter_id=version.adapter_id, since=now)
        _tried(tx, version, now=now)
        # as its id, its kept prompt, and the word that all who sent it are said to have used
        newcomers.arrive(tx, version, now=now, text=text)


def _tried(tx: Connection, version: Version, *, now: datetime) -> None:
    """A canary that began, an action that waits, and a look at both; of itself, for the text."""
    text = version.adapter
    actions.add(
        tx, version, kind=ActionKind.FALLBACK, state=ActionState.AWAITING_APPROVAL, reason=text,
        evidence={"gate": text, "reason": text}, expected_generation=1, target={"version": text},
        actor=text, now=now,
    )  # fmt: skip
    state = CanaryState(phase=Phase.PAUSED, pause=Pause.MANUAL, reason=text, unverified=text)
    canary = canaries.add(
        tx, version, control=version, plan=to_json(CanarySettings().plan()), state=to_json(state),
        guards=[], unchecked=[text], mode=None, by=text, now=now,
    )  # fmt: skip
    found = GuardFound(
        name=text, kind=GuardKind.RATE, outcome=GuardOutcome.UNSURE, margin=0.05, bar=0.05,
        value=0.0, lo=-0.1, hi=0.1,
    )  # fmt: skip
    look = CanaryEvent(
        at=now, event="looked", phase=text, pause=text, step=0, weight=0.1, reason=text, actor=text,
        outcome="unsure", trial_requests=1, control_requests=1,
        guards=[msgspec.to_builtins(found)],
    )  # fmt: skip
    canary_looks.append(tx, canary.id, look)


def _calm(looker: Looker) -> None:
    assert looker.dialogs == []
    assert looker.complaints == []
    assert looker.foreign == []
    assert looker.page.evaluate("window.pwned") is None
    inside = "[...document.querySelectorAll('script')].every((s) => s.src.includes('/assets/'))"
    assert looker.page.evaluate(inside)
