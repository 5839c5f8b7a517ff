"""The image of an incident's signals: for keys that may read, and for whoever has its link."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx2
import pytest

from alerts.message import Links
from alerts.types import Blame, Kind, VerdictKind
from monitor.domain import Scope
from monitor.incident.chart_reading import MOST_MEMBERS
from monitor.outbox.linking import CHART_LASTS, PageLinks, chart_key
from monitor.store.database import Database
from monitor.store.evaluation import evaluations
from monitor.store.incidents import incidents
from monitor.store.tables.registry import adapters
from tests import worlds
from tests.alert_samples import an_alert
from tests.fleet import register
from tests.outbox.test_telling import see
from tests.serving import Serving, serving

KEY = chart_key(b"k" * 32)
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script xmlns="http://www.w3.org/2000/svg">alert(1)</script>\u202e"'


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path, pages=PageLinks(base_url="http://pages", key=KEY)) as running:
        with database.begin() as tx:
            worlds.seed(tx, now=datetime.now(UTC), days=0.3)
            tx.execute(adapters.update().where(adapters.c.name == "support").values(name=HOSTILE))
        yield running


def parsed(image: str) -> ET.Element:
    return ET.fromstring(image)  # noqa: S314 (our own drawing)


def link(site: Serving, incident: int, *, at: datetime) -> str:
    """The link that a message of that time has, as far as it is the service's."""
    pages = PageLinks(base_url=site.url, key=KEY)
    links = Links(incident=f"{site.url}/incidents/{incident}")
    chart = pages.linked(an_alert(at=at, links=links)).links.chart
    assert chart is not None
    return chart


def test_it_is_drawn_for_keys_and_for_signed_links_only(site: Serving) -> None:
    now = datetime.now(UTC)
    [number] = [
        row.id for row in site.database.run(incidents.incident_list) if row.adapter == HOSTILE
    ]
    place = f"{site.url}/v1/incidents/{number}/chart.svg"
    signed = link(site, number, at=now)
    with site.client(Scope.READ) as reader, site.client() as stranger:
        drawn = reader.get(place)
        shown = stranger.get(signed)
        assert (drawn.status_code, shown.status_code) == (200, 200), shown.text
        assert shown.headers["content-type"] == "image/svg+xml"
        assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "script-src 'self'" in shown.headers["content-security-policy"]
        for wrong, status in (
            (place, 401),
            (signed.replace(f"/incidents/{number}/", f"/incidents/{number + 1}/"), 403),
            (signed.replace("expires=1", "expires=2"), 403),
            (signed[:-1] + ("0" if signed[-1] != "0" else "1"), 403),
            (signed.partition("&")[0], 401),
            (link(site, number, at=now - CHART_LASTS - timedelta(seconds=1)), 403),
            (f"{signed}&width=1", 422),
        ):
            assert stranger.get(wrong).status_code == status, wrong
        assert stranger.get(link(site, 4711, at=now)).status_code == 404
        narrow = parsed(stranger.get(f"{signed}&width=320").text)
    image = parsed(drawn.text)
    assert (image.get("width"), narrow.get("width")) == ("860", "320")
    words = ["".join(text.itertext()) for text in image.iter(f"{SVG}text")]
    assert {
        "perplexity of fixed texts: it reads fixed texts differently · +99.8 % now, 0 % is normal",
        "critical",
        "drifting",
        "to v6",
    } <= set(words)
    assert sum(one.startswith("no traffic since ") for one in words) == 1
    # the adapter's name is a text, whatever it says, and hides nothing
    assert list(image.iter(f"{SVG}script")) == []
    assert any(text.startswith(f"#{number} </text><script") for text in words)
    assert "\u202e" not in drawn.text
    kinds = [one.get("class") for one in image.iter()]
    rows = len(worlds.DETECTORS)
    assert (kinds.count("margin"), kinds.count("onset")) == (rows, rows)
    assert kinds.count("effect") + kinds.count("dot") == rows


def test_only_messages_of_drift_have_one_and_only_where_people_reach_the_service() -> None:
    told = an_alert(links=Links(incident="https://driftline.example/incidents/7"))
    here = PageLinks(base_url="https://driftline.example/", key=KEY)
    chart = here.linked(told).links.chart
    assert chart is not None
    address = httpx2.URL(chart)
    assert address.path == "/v1/incidents/7/chart.svg"
    assert int(address.params["expires"]) == int((told.at + CHART_LASTS).timestamp())
    assert here.linked(told).links.chart == chart  # the same in each attempt
    assert replace(here, key=None).linked(told).links.chart is None
    assert PageLinks(key=KEY).linked(told) == told
    for other in (
        replace(told, kind=Kind.NO_DATA),
        replace(told, test=True),
        replace(told, links=Links()),
    ):
        assert here.linked(other).links.chart is None


def test_of_a_fleet_it_says_how_many_of_the_members_it_shows(site: Serving) -> None:
    now = datetime.now(UTC)
    with site.database.begin() as tx:
        for number in range(MOST_MEMBERS + 2):
            member = register(tx, f"sibling-{number}")
            see(tx, member, VerdictKind.DRIFTING, blame=Blame.BASE)
            if number:  # of the first there are no scores
                score = worlds.a_score(
                    member, "perplexity", now, value=0.1, notice=2.0, page=0.1, effect=0.1
                )
                evaluations.put_scores(tx, [score])
        [row] = [one for one in incidents.incident_list(tx) if one.base_model is not None]
    with site.client(Scope.READ) as reader:
        drawn = reader.get(f"{site.url}/v1/incidents/{row.id}/chart.svg").text
    words = [text.text or "" for text in parsed(drawn).iter(f"{SVG}text")]
    assert words[0].endswith(" · 6 of 8 members, those that moved first")
    assert [word.partition(":")[0] for word in words if word.startswith("sibling")] == [
        f"sibling-{number}@v7" for number in range(1, MOST_MEMBERS + 1)
    ]
