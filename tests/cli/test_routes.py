"""``driftline route``, against the application on a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.domain import Scope
from monitor.store.database import Database
from tests.cli.command import Ran, driftline, failed
from tests.cli.conftest import Run
from tests.routed import Vllm, answering
from tests.serving import Serving, proof_of, serving

NAME = "acme/support"


@pytest.fixture
def routed(database: Database, tmp_path: Path) -> Iterator[Serving]:
    """An adapter with two versions, of which the engine serves the first only."""
    engine = Vllm(models={"base": None, f"{NAME}@v1": "/v1"})
    with (
        answering(engine.respond) as url,
        serving(database, tmp_path, proof=proof_of(database, url)) as running,
        running.client(Scope.ADMIN) as client,
    ):
        for version in ("v1", "v2"):
            client.put(f"/v1/adapters/acme%2Fsupport/versions/{version}", json={})
        yield running


@pytest.fixture
def run(routed: Serving, tmp_path: Path) -> Run:
    def ran(*words: str) -> Ran:
        environ = {"DRIFTLINE_URL": routed.url, "DRIFTLINE_KEY": routed.keys[Scope.ADMIN]}
        with capture_logs():  # the application's, which runs in this process
            return driftline("route", *words, environ=environ, cwd=tmp_path)

    return ran


def test_a_route_is_shown_set_held_and_released(run: Run) -> None:
    shown = run("show", NAME)
    assert (shown.code, shown.err) == (0, "")
    assert "acme/support, generation 1" in shown.out
    assert "by for admin: first version v1 registered" in shown.out

    failed(run("set", NAME, "stable=v2:1", "--reason", "x"), "acme/support@v2 is not served by")
    made = run("set", NAME, "stable=v2:1", "--reason", "I know", "--unproven", "--json")
    assert json.loads(made.out)["reason"] == "I know (unproven)"

    held = json.loads(run("hold", NAME, "--for", "2h", "--reason", "look", "--json").out)
    assert (held["generation"], held["arms"][0]["version"]) == (3, "v2")
    assert "held until" in run("show", NAME).out
    released = json.loads(run("release", NAME, "--reason", "seen", "--json").out)
    assert (released["generation"], released["hold_until"]) == (4, None)

    told = run("history", NAME, "--limit", "3").out
    assert [reason in told for reason in ("seen", "look", "I know", "first version")] == [
        True,
        True,
        True,
        False,
    ]


def test_what_is_no_route_is_refused_in_words(run: Run) -> None:
    failed(run("set", NAME, "stabel=v1:1", "--reason", "x"), "arms are stable, canary")
    failed(run("set", NAME, "stable=v1", "--reason", "x"), "write ARM=VERSION:WEIGHT")
    failed(run("set", NAME, "stable=v1:0.5", "--reason", "x"), "the weights sum to 0.5, not 1")
    failed(run("hold", NAME, "--for", "soon", "--reason", "x"), "'soon' is no duration")
    failed(run("hold", NAME, "--for", "0s", "--reason", "x"), "a hold lasts longer than 0")
    failed(run("show", "nobody"), "No adapter is called 'nobody'")
