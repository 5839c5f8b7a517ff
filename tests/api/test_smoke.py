"""An adapter's own smoke prompts, put to its models while somebody looks at an incident."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from monitor.config.loading import load
from monitor.daemon.parts import smoke_test_of
from monitor.domain import Scope
from monitor.incident.smoke import SmokeTest
from monitor.probes.corpus import Document
from monitor.probes.smoke import LONGEST_TEXT, MOST_PROMPTS, MOST_TOKENS, Questioner
from monitor.store.database import Database
from monitor.store.incidents import incidents
from monitor.store.tables.columns import metadata
from monitor.store.tables.registry import versions
from tests import worlds
from tests.probes import fake_engine
from tests.probes.fake_engine import FakeEngine
from tests.probes.served import HTTP, engines_of
from tests.serving import Serving, serving

PROMPTS = tuple(
    Document(id=f"p{i}", text=f"<b>where</b> is parcel {i}?\nI wait.") for i in range(12)
)
SAID = "<script>alert('{model}')</script>\nsecond line"


@dataclass
class Talking(FakeEngine):
    """Chats, except with models without a template; a ``broken`` one answers 500."""

    templates: frozenset[str] = frozenset({"support@v7", "support@v6"})
    broken: frozenset[str] = frozenset({"support@v6"})
    holds: threading.Event | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.lock:
            self.asked.append((path, body))
        if self.holds is not None:
            self.holds.wait(60)
        said = SAID.format(model=body["model"]) + "x" * 3_000
        if body["model"] in self.broken:
            return 500, b'{"error": "secret"}'
        if path == "/v1/completions":
            return 200, json.dumps({"choices": [{"text": said}]}).encode()
        if body["model"] not in self.templates:
            return 400, b'{"error": "no chat template"}'
        return 200, json.dumps({"choices": [{"message": {"content": said}}]}).encode()


@contextmanager
def asking(database: Database, folder: Path, engine: Talking) -> Iterator[Serving]:
    with fake_engine.serving(engine) as url:
        questioner = Questioner(
            engines=engines_of([url]), http=HTTP, headers={"authorization": "Bearer k"}
        )
        smoke = SmokeTest(questioner=questioner, prompts={"support": PROMPTS})
        with serving(database, folder, smoke=smoke) as site:
            with database.begin() as tx:
                worlds.seed(tx, now=datetime.now(UTC), days=0.1)
            yield site


def number(site: Serving, adapter: str) -> int:
    found = site.database.run(incidents.incident_list)
    return next(row.id for row in found if row.adapter == adapter)


def everything_stored(database: Database) -> str:
    with database.begin() as tx:
        return " ".join(
            tx.execute(
                sa.text(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {one} t")
            ).scalar_one()
            for one in (f'"{table.name}"' for table in metadata.sorted_tables)
        )


def test_current_previous_and_base_answer_the_adapters_own_prompts(
    database: Database, tmp_path: Path
) -> None:
    adapters: list[dict[str, str | None]] = [
        {"id": f"support@v{i}", "parent": "base"} for i in (6, 7)
    ]
    cards = [{"id": "base", "parent": None}, *adapters]
    engine = Talking(models=cards)
    with asking(database, tmp_path, engine) as site, site.client(Scope.OPERATE) as client:
        place = f"/incidents/{number(site, 'support')}/answers"
        with database.begin() as tx:
            tx.execute(versions.update().where(versions.c.name == "v7").values(parent="v6"))
        told = client.post(f"/v1{place}").json()["prompts"]
        other = client.post(f"/v1/incidents/{number(site, 'travel-assistant')}/answers")
        with site.client(Scope.READ) as reader:
            assert reader.post(f"/v1{place}").status_code == 403
        assert client.post("/v1/incidents/4711/answers").status_code == 404
        client.post("/login", data={"key": site.keys[Scope.ADMIN]})
        shown = client.get(place.removesuffix("/answers")).text
        page = client.post(place)
        foreign = client.post(place, headers={"sec-fetch-site": "cross-site"})
        kept = everything_stored(database)
    assert [one["id"] for one in told] == [f"p{i}" for i in range(MOST_PROMPTS)]
    first = told[0]
    assert first["prompt"] == PROMPTS[0].text
    answers = {one["role"]: one for one in first["answers"]}
    assert {role: one["model"] for role, one in answers.items()} == {
        "current": "support@v7", "previous": "support@v6", "base": "base",
    }  # fmt: skip
    for role in ("current", "base"):
        assert len(answers[role]["text"]) == LONGEST_TEXT
        assert answers[role]["text"].startswith("<script>")
    assert answers["previous"]["why_not"] == "the engine answered HTTP 500"
    assert answers["previous"]["text"] is None
    assert {body["max_tokens"] for _, body in engine.asked} == {MOST_TOKENS}
    assert {body["temperature"] for _, body in engine.asked} == {0}
    assert engine.keys == {None, "Bearer k"}  # lists of models are asked without it here
    assert (other.status_code, other.json()["type"]) == (409, "urn:driftline:problem:not-askable")
    assert "adapters.travel-assistant.smoke_prompts" in other.json()["detail"]
    assert "10 prompts to this version" in shown
    assert "&lt;script&gt;alert(&#39;support@v7&#39;)&lt;/script&gt;<br>second line" in page.text
    assert "<script>alert" not in page.text
    assert (foreign.status_code, "another site" in foreign.text) == (403, True)
    assert "support@v7" in kept
    for text in ("is parcel 1", "second line"):
        assert text not in kept


def test_time_engines_and_other_smoke_tests_are_bounded() -> None:
    done = threading.Event()
    with fake_engine.serving(Talking(holds=done)) as url:
        questioner = Questioner(
            engines=engines_of([url]), http=HTTP, timeout=timedelta(seconds=0.2)
        )
        slow = questioner.answers("support@v7", PROMPTS[:1], until=time.monotonic() + 10)
        late = questioner.answers("support@v7", PROMPTS[:3], until=time.monotonic() - 1)
        unknown = questioner.answers("nobody", PROMPTS[:2], until=time.monotonic() + 10)
        done.set()
    gone = questioner.answers("support@v7", PROMPTS[:1], until=time.monotonic() + 10)
    assert [one.why_not for one in late] == ["not asked: the time was over"] * 3
    assert all("does not serve 'nobody'" in (one.why_not or "") for one in unknown)
    assert [one.text for one in (*slow, *gone)] == [None, None]
    assert (slow[0].why_not or "").startswith("no answer")


def test_the_config_names_the_files(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text("\n".join(json.dumps({"id": d.id, "text": d.text}) for d in PROMPTS))
    config = tmp_path / "config.toml"
    config.write_text(
        f'[defaults]\nsmoke_prompts = "{good}"\n[adapters.other]\nsmoke_prompts = "missing.jsonl"\n'
    )
    smoke = smoke_test_of(load(config, environ={}), engines_of([]))
    assert smoke.questioner is None
    assert smoke.prompts_of("anyone") == PROMPTS[:MOST_PROMPTS]
    assert smoke.prompts_of("other") == ()
