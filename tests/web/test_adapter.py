"""The page of an adapter: what people must know first, why to believe it last."""

import html
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.brief import brief
from alerts.titles import began_clock, headline
from alerts.types import VerdictKind
from detectors import DETECTORS
from detectors.perplexity import PERPLEXITY
from monitor.domain import ChangeKind, Interval, Scope, Version
from monitor.incident.signals import FAMILIES, family_of
from monitor.outbox.present import NEAR, newest
from monitor.store.incidents import incidents
from monitor.store.people import changes
from monitor.store.records import samples
from monitor.store.references import references
from monitor.store.registry import versions
from monitor.web.adapter_sections import AdapterSections
from tests import newcomers, worlds
from tests.serving import Serving
from tests.web.conftest import Looker

SECTIONS = ("health", "signals", "histogram", "report", "new", "scatter", "versions",
            "route", "reference", "coverage", "incidents", "transitions", "scores", "plan",
            "selftest")  # fmt: skip
PROMPT = "Where is my <b>gift card</b>?"


@pytest.fixture
def drifting(service: Serving) -> Serving:
    """A fleet in which ``support@v7`` is paged about, and its traffic has been moved to v6."""
    now = datetime.now(UTC)
    with service.database.begin() as tx:
        worlds.seed(tx, now=now, days=0.3)
        version = versions.fetch(tx, adapter="support", name="v7")
        assert version is not None
        newcomers.arrive(tx, version, now=now, text=PROMPT)
        newcomers.measure(tx, version, now=now, shift=0.3)
        changes.add(
            tx,
            changes.Declaration(
                kind=ChangeKind.ENGINE,
                title="vLLM 0.33",
                adapters=None,
                begun_at=now - timedelta(hours=4),
                ended_at=now - timedelta(hours=3.5),
                author="deploys",
            ),
        )
    return service


def text_of(page: str) -> str:
    """What people read on a page, without what stands under "Why believe it"."""
    shown = page.partition('id="believe"')[0]
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", shown).split()))


@pytest.fixture
def person(drifting: Serving) -> Iterator[httpx2.Client]:
    with drifting.client() as client:
        client.post("/login", data={"key": drifting.keys[Scope.ADMIN]})
        yield client


def test_it_says_first_what_the_message_of_now_would_say(
    drifting: Serving, person: httpx2.Client
) -> None:
    page = person.get("/adapters/support").text
    shown = text_of(page)
    now = datetime.now(UTC)
    told = drifting.database.run(lambda tx: newest(tx, of(tx, "v7"), margin=NEAR, now=now))
    assert told is not None
    said = brief(told[0])
    assert said.title.startswith("[PAGE] support@v7: answers less certain")
    places = [shown.index(part) for part in (headline(told[0]), said.impact, said.cause, said.done)]
    assert places == sorted(places)
    assert max(places) < shown.index("What moved")
    assert all(step.replace("`", "") in shown.replace(" .", ".") for step in said.steps)
    since = began_clock(told[0]).removesuffix(" UTC")
    assert f"since {since}" in said.impact
    # a title of 80 characters has no room for the date of yesterday
    assert f"since {since}" in said.title or since.startswith(f"{now.date() - timedelta(days=1)}")
    assert since in page.partition("<dt>Since</dt>")[2].partition("</time>")[0]


def test_no_name_of_a_detector_or_signal_is_read_before_the_reasons(
    person: httpx2.Client,
) -> None:
    names = {*DETECTORS, *(name for one in DETECTORS.values() for name in one.signals)}
    for path in ("/adapters/support", "/adapters/support?signal=mean_nll", "/adapters/billing"):
        page = person.get(path).text
        shown = text_of(page)
        assert [name for name in names if "_" in name and name in shown] == []
        assert "evidence" not in shown
        assert "bottom5%" not in shown
        assert "evidence" in page.partition('id="believe"')[2]


def test_no_other_page_names_a_detector_or_signal_before_its_details(
    drifting: Serving, person: httpx2.Client
) -> None:
    names = {*DETECTORS, *(name for one in DETECTORS.values() for name in one.signals)}
    rows = drifting.database.run(incidents.incident_list)
    for path in ("/", "/incidents", *(f"/incidents/{row.id}" for row in rows), "/routes"):
        page, _, _ = person.get(path).text.partition('id="numbers"')
        shown = text_of(page)
        assert [name for name in names if "_" in name and name in shown] == [], path
        assert "bottom5%" not in shown


def test_a_section_that_fails_takes_no_other(
    person: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_sections: AdapterSections, *given: Connection) -> Any:
        for tx in given:
            tx.execute(sa.text("SELECT no_such_column"))  # its transaction ends as well
        raise RuntimeError

    for name in SECTIONS:
        with monkeypatch.context() as patch:
            patch.setattr(AdapterSections, f"_{name}", fail)
            answer = person.get("/adapters/support")
        assert answer.status_code == 200
        assert answer.text.count("This part could not be read.") == 1, name
        before = answer.text.partition("This part could not be read.")[0]
        assert f'data-live="{name}"' in before[-300:]
        assert re.findall(r'data-live="(\w+)"', answer.text)[2:] == list(SECTIONS)


def test_what_moved_stays_large_after_its_verdict_was_reset(
    drifting: Serving, person: httpx2.Client
) -> None:
    with drifting.database.begin() as tx:
        calm = worlds.a_verdict(VerdictKind.STABLE, datetime.now(UTC))
        worlds.put_verdict(tx, of(tx, "v7"), calm, drift=1.0)
    shown = text_of(person.get("/adapters/support?from=24h").text)
    assert "certainty of answers: answers less certain" in shown.partition("How it is served")[0]
    assert "answers without token statistics" in shown.partition("How it is served")[2]


def test_the_time_axis_has_routes_and_declared_changes(person: httpx2.Client) -> None:
    chart = person.get("/adapters/support").text.partition('class="wide"')[2].partition("</svg>")[0]
    words = {one.partition(" · ")[0] for one in re.findall(r">([^<]+)</text>", chart)}
    assert {"to v6", "engine: vLLM 0.33", "critical", "times in UTC"} <= words
    assert re.search(r"\d+ % at \d\d:\d\d, 50 % is normal", chart), "until its traffic moved"
    assert "100 % now" not in chart
    assert "how often a new request shows it more than a normal one" in chart


def test_the_range_is_in_the_address(person: httpx2.Client) -> None:
    for age in ("1h", "24h", "7d", "30d"):
        page = person.get(f"/adapters/support?from={age}").text
        assert re.search(rf'from={age}" aria-current="true">{age}</a>', page), page[
            page.index('class="choice"') :
        ][:600]
    day = datetime.now(UTC) - timedelta(days=1)
    page = person.get(f"/adapters/support?from={day:%Y-%m-%dT%H:%M}&to=1h").text
    assert f'name="from" value="{day:%Y-%m-%dT%H:%M}"' in page
    assert 'aria-current="true">1h' not in page


def test_a_range_that_makes_no_sense_is_refused_in_a_sentence(person: httpx2.Client) -> None:
    for asked in ("from=nonsense", "from=1h&to=24h", "from=400d"):
        answer = person.get(f"/adapters/support?{asked}")
        assert answer.status_code == 400
        why = re.findall(r'role="alert">([^<]+)<', answer.text)
        assert len(why) == 1
        assert why[0].endswith("Below are the last 24h.")
        assert "What moved" in answer.text


def test_it_is_shown_from_before_what_began(drifting: Serving, person: httpx2.Client) -> None:
    def chosen() -> list[str]:
        page = person.get("/adapters/support").text
        return re.findall(r'aria-current="true">(\w+)</a>\s*<a href="\?from', page)

    with drifting.database.begin() as tx:
        tx.execute(sa.text("UPDATE versions SET registered_at = now()"))
    assert chosen() == ["24h"]  # a version of this hour, in which something began hours ago
    with drifting.database.begin() as tx:
        calm = worlds.a_verdict(VerdictKind.STABLE, datetime.now(UTC))
        worlds.put_verdict(tx, of(tx, "v7"), calm, drift=1.0)
    assert chosen() == ["1h"]
    with drifting.database.begin() as tx:
        tx.execute(sa.text("UPDATE versions SET registered_at = now() - interval '2 hours'"))
    assert chosen() == ["24h"]


def test_any_signal_is_compared_with_the_reference(person: httpx2.Client) -> None:
    shown = text_of(person.get("/adapters/support?signal=mean_nll").text)
    assert re.search(r"Median 0\.\d+ in this range, 0\.3\d+ in the reference \(nats", shown)
    assert "this range, 200 requests" in shown
    assert "reference, 2,000 requests" in shown
    unknown = text_of(person.get("/adapters/support?signal=<b>none").text)
    assert "Not known: the reference of support@v7 has no signal of that name." in unknown
    none = text_of(person.get("/adapters/returns?signal=mean_nll").text)
    assert "Not known: returns@v1 has no reference yet." in none


def test_what_is_new_shows_texts_and_where_none_is_kept_ids_and_lengths(
    person: httpx2.Client, drifting: Serving
) -> None:
    shown = text_of(person.get("/adapters/support").text)
    assert f"{PROMPT} : 6 requests of 6 users" in shown
    assert re.search(rf"[1-6] {re.escape(PROMPT)}", shown)
    with drifting.database.begin() as tx:
        version = of(tx, "v7")
        span = Interval(start=datetime.now(UTC) - timedelta(hours=1), end=datetime.now(UTC))
        found = samples.sizes(tx, version.adapter_id, ["measured-3", "nobody"], within=span)
    assert {name: size.output_tokens for name, size in found.items()} == {"measured-3": 40}


def test_versions_stand_beside_each_other(person: httpx2.Client) -> None:
    table = person.get("/adapters/support").text.partition('data-live="versions"')[2]
    rows = [text_of(row) for row in table.partition("</table>")[0].split("<tr>")[2:]]
    assert [row.split()[0] for row in rows] == ["v7", "v6"]
    assert "in charge 0 % critical" in rows[0]
    assert "100 % healthy none" in rows[1]


def test_somebody_approves_the_reference_that_they_saw(
    drifting: Serving, person: httpx2.Client
) -> None:
    form = {"version": "v7", "generation": "1"}
    with drifting.database.begin() as tx:
        tx.execute(sa.text('UPDATE "references" SET approved_by = NULL'))
    assert "Approve generation 1 now" in person.get("/adapters/support").text
    with drifting.client() as reader:
        reader.post("/login", data={"key": drifting.keys[Scope.READ]})
        assert "Approve generation" not in reader.get("/adapters/support").text
        refused = reader.post("/adapters/support/approve", data=form)
        assert (refused.status_code, "may operate" in refused.text) == (403, True)
    wrong = person.post("/adapters/support/approve", data=form | {"generation": "7"})
    assert (wrong.status_code, "There is no such reference" in wrong.text) == (409, True)
    done = person.post("/adapters/support/approve", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/adapters/support?version=v7")
    known = drifting.database.run(lambda tx: references.current(tx, of(tx, "v7").id))
    assert known is not None
    assert known.approved_by == "for admin"
    again = person.post("/adapters/support/approve", data=form)
    assert (again.status_code, "only a ready, unapproved one" in again.text) == (409, True)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
@pytest.mark.usefixtures("drifting")
def test_a_fold_stays_as_it_is_while_the_page_refreshes(
    look: Callable[..., Looker], width: int, scheme: str
) -> None:
    looker = look(width=width, scheme=scheme)
    looker.log_in()
    looker.open("/adapters/support?signal=mean_nll")
    family = looker.page.locator("details.family").first
    family.locator("summary").click()
    looker.page.evaluate("refresh()")
    looker.page.wait_for_function("document.querySelector('details.family').open")
    assert looker.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert looker.page.locator("svg.signals:not(.spark):visible").count() == 1
    assert (looker.complaints, looker.dialogs, looker.foreign) == ([], [], [])


def test_every_detector_belongs_to_one_family() -> None:
    found = {name: family_of(name) for name in (*DETECTORS, PERPLEXITY)}
    assert {*found.values()} == {*FAMILIES}
    assert found["logit_ks"] == found["entropy"] == found[PERPLEXITY] == FAMILIES[0]
    assert found["errors"] == found["latency"] == found["missing"] == "How it is served"
    assert found["refusal"] == found["repetition"] == "What it answers"


def of(tx: Connection, name: str) -> Version:
    found = versions.fetch(tx, adapter="support", name=name)
    assert found is not None
    return found
