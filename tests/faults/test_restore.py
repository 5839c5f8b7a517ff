"""A database that is put back: rows and keys are there, and gateways go by what it says."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.postgres import EmbeddedPostgres
from monitor.postgres.binaries import find_binaries
from tests.gateway.conftest import listening
from tests.gateway.processes import GatewayProcess, Site
from tests.gateway.stub_engine import StubEngine
from tests.service import CONFIG, ROOT, Service, Talk, until

ASKED = {"model": "support", "messages": [{"role": "user", "content": "When?"}]}
WRITTEN = {
    # the gateway sends records of its own, at times of its own
    "records": "SELECT count(*) FROM records WHERE id LIKE 'support-%'",
    "versions": "SELECT count(*) FROM versions",
    "keys": "SELECT count(*) FROM keys",
    "route_history": "SELECT count(*) FROM route_history",
}
QUICK = {"capture.embed_prompts": "false"}
"""No process for embeddings, which takes seconds to start and to stop."""
KEY_FILES = ("admin.key", "session.key", "subject.key")


def driftline(service: Service, *words: str) -> str:
    """Run a command as the operator of this service would; give what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *words, "-c", str(service.folder / "config.toml")],
        cwd=ROOT,
        env=service.environ() | {"DRIFTLINE_KEY": service.key, "DRIFTLINE_URL": service.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(conninfo: str) -> Mapping[str, int]:
    """Count what senders, people and the service itself wrote."""

    def count(connection: psycopg.Connection, query: str) -> int:
        found = connection.execute(query.encode()).fetchone()
        assert found is not None
        return int(found[0])

    with psycopg.connect(conninfo) as connection:
        return {name: count(connection, query) for name, query in WRITTEN.items()}


@dataclass
class World:
    """A service that had four generations of a route, and a gateway that has seen them all."""

    folder: Path
    gateway: GatewayProcess
    old: Service
    new: Service
    stack: ExitStack
    stored: Mapping[str, int] = field(default_factory=dict)

    def model(self) -> str | None:
        """Which model the gateway sends requests to now."""
        answer = httpx2.post(f"{self.gateway.url}/v1/chat/completions", json=ASKED, trust_env=False)
        return str(answer.headers.get("x-driftline-version"))

    def put(self, service: Service, version: str) -> None:
        tag = service.call("GET", "/v1/routes/support").headers["etag"]
        arms = [{"arm": "stable", "version": version, "weight": 1.0}]
        body = {"arms": arms, "reason": "a person"}
        service.put("/v1/routes/support", body, **{"if-match": tag})

    def metric(self, name: str) -> float:
        text = httpx2.get(f"{self.gateway.url}/metrics", trust_env=False).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        )

    def warnings(self) -> list[str]:
        said: Any = httpx2.get(f"{self.gateway.url}/readyz", trust_env=False)
        assert said.is_success
        return list(said.json()["warnings"])


@contextmanager
def world(folder: Path, back_up: Callable[[Service], object]) -> Iterator[World]:
    """Play it until all but the backup, the gateway and the engine is gone."""
    engine = StubEngine(models={"support@v6", "support@v7"})
    old = Service(folder=folder / "old", changes=QUICK)
    new = Service(folder=folder / "new", changes=QUICK, port=old.port)
    with ExitStack() as stack:
        stack.callback(new.clear_away)
        stack.callback(old.clear_away)
        old.start()
        for version in ("v6", "v7"):
            old.register("support", version, model=f"support@{version}")
        old.send(Talk("support").records(40))
        (folder / "gateway").mkdir()
        url = stack.enter_context(listening(engine.app()))
        site = Site(folder / "gateway", [url], service=old.url, key=old.key)
        site.keep()
        made = World(folder, stack.enter_context(site.gateway()), old, new, stack)
        until(lambda: made.model() == "v6", "the first generation")
        with old.stored() as connection:
            made.stored = rows(connection.info.dsn + f" password={connection.info.password}")
        back_up(old)
        for version in ("v7", "v6", "v7"):
            made.put(old, version)
        until(lambda: made.metric("driftline_gateway_route_generation") == 4, "the fourth")
        assert made.model() == "v7"
        old.terminate()
        new.folder.mkdir()
        (new.folder / "config.toml").write_text(CONFIG)
        new.key = old.key
        yield made


def follows(made: World, conninfo: str) -> None:
    """The restored service is what it was, and the gateway goes by it."""
    assert rows(conninfo) == made.stored
    made.new.start()
    began = time.monotonic()
    assert made.new.get("/v1/routes/support")["generation"] == 1  # by the key of before
    until(lambda: made.model() == "v6", "the gateway goes by the restored route")
    print(
        f"the gateway went by the restored route {time.monotonic() - began:.1f} s after the start"
    )
    assert made.metric("driftline_gateway_route_generation") == 1
    assert made.metric("driftline_gateway_route_refused") == 0
    assert made.warnings() == []
    assert made.new.get("/v1/routes/support")["behind"] is None
    made.put(made.new, "v7")
    until(lambda: made.model() == "v7", "and by the next one")
    made.new.terminate()


@pytest.mark.parametrize("place", ["an empty data folder", "another server"])
def test_a_backup_is_restored_and_gateways_follow(tmp_path: Path, place: str) -> None:
    backup = tmp_path / "backup"
    with world(tmp_path, lambda old: driftline(old, "backup", str(backup))) as made:
        for path in (backup, *backup.iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path
        if place == "another server":
            server = made.stack.enter_context(EmbeddedPostgres(tmp_path / "server"))
            made.new.changes = QUICK | {"database.url": server.url}
        said = driftline(made.new, "restore", str(backup))
        assert "routes are of epoch" in said
        for name in KEY_FILES:
            kept = made.new.data_dir / name
            assert kept.read_bytes() == (made.old.data_dir / name).read_bytes()
            assert kept.stat().st_mode & 0o077 == 0
        if place == "another server":
            follows(made, server.conninfo)
        else:
            with EmbeddedPostgres(made.new.data_dir) as server:
                follows(made, server.conninfo)


def test_what_is_restored_by_hand_is_followed_too(tmp_path: Path) -> None:
    dump = tmp_path / "driftline.dump"

    def program(name: str, conninfo: str, *words: str) -> None:
        subprocess.run([find_binaries().bin / name, "-d", conninfo, *words], check=True)

    def back_up(old: Service) -> None:
        with EmbeddedPostgres(old.data_dir) as server:
            program("pg_dump", server.conninfo, "-Fc", "-f", str(dump))

    with world(tmp_path, back_up) as made, EmbeddedPostgres(made.new.data_dir) as server:
        program("pg_restore", server.conninfo, str(dump))
        follows(made, server.conninfo)


def test_a_folder_that_was_put_back_is_refused_aloud_until_a_person_says_so(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"

    def copy(old: Service) -> None:
        old.terminate()
        shutil.copytree(old.data_dir, kept)
        old.start()

    with world(tmp_path, copy) as made:
        shutil.copytree(kept, made.new.data_dir)
        made.new.start()
        until(made.warnings, "/readyz says so")
        (said,) = made.warnings()
        assert said.startswith("refuses 1 route that the service tells")
        assert made.model() == "v7"
        assert made.metric("driftline_gateway_route_refused") == 1
        assert "support: goes by generation 4 of epoch " in made.gateway.told()
        until(lambda: made.new.get("/v1/routes/support")["behind"], "the service knows")
        shown = driftline(made.new, "route", "show", "support")
        assert "goes by generation 4" in " ".join(shown.split())
        with httpx2.Client(base_url=made.new.url, trust_env=False) as client:
            client.post("/login", data={"key": made.new.key})
            page = client.get("/routes").text
        assert "goes by generation 4" in page
        exposed = made.new.call("GET", "/metrics").text
        assert 'driftline_route_behind{adapter="support"} 1.0' in exposed
        driftline(made.new, "route", "renew", "--reason", "the folder was put back")
        until(lambda: made.model() == "v6", "the gateway goes by it")
        until(lambda: made.new.get("/v1/routes/support")["behind"] is None, "nothing is behind")
        assert made.warnings() == []
        assert made.metric("driftline_gateway_route_refused") == 0
        made.new.terminate()
