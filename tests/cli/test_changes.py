"""Declaring changes from a shell, as a deployment does."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.domain import Scope
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.tables.incidents import outbox
from monitor.store.tables.probes import perplexity_runs
from tests import worlds
from tests.cli.command import Ran, driftline, failed, process
from tests.serving import Serving, serving

CUT = "\x1b]0;owned\x07"


@pytest.fixture
def fleet(database: Database, tmp_path: Path) -> Iterator[Serving]:
    """Two adapters with a registered perplexity behind the HTTP application."""
    with database.begin() as tx:
        for name in ("support", "travel"):
            version = versions.put(
                tx, adapter=adapters.put(tx, name=name), name="v1", model=f"{name}@v1"
            )
            tx.execute(
                perplexity_runs.insert().values(
                    version_id=version.id,
                    corpus="general",
                    model=version.model,
                    role="registration",
                    state="done",
                )
            )
    with serving(database, tmp_path) as running:
        yield running


def run(fleet: Serving, *words: str, scope: Scope = Scope.ADMIN) -> Ran:
    return driftline(*words, environ=told(fleet, scope))


def told(fleet: Serving, scope: Scope) -> dict[str, str]:
    return {"DRIFTLINE_URL": fleet.url, "DRIFTLINE_KEY": fleet.keys[scope]}


def done(ran: Ran) -> str:
    assert ran.code == 0, ran
    return ran.out


def test_an_engine_upgrade_is_three_commands(fleet: Serving) -> None:
    environ = told(fleet, Scope.ADMIN)
    begun = process("change", "begin", "engine", "vLLM 0.32 to 0.33", environ=environ)
    number = done(begun).strip()
    assert number.isdigit()  # alone on stdout: CI keeps it in a variable
    assert f"driftline change end {number}" in begun.err
    assert "a change of engine is under way since" in done(run(fleet, "status"))
    assert "vLLM 0.32 to 0.33" in done(run(fleet, "status", "support"))
    over = done(process("change", "end", number, environ=environ))
    assert f"engine change {number}, vLLM 0.32 to 0.33, ended after 0:" in over
    assert "perplexity of 2 versions starts afresh" in over
    assert "under way" not in done(run(fleet, "status"))
    again = run(fleet, "change", "end", number)
    assert "starts afresh" not in done(again)


def test_the_only_open_change_needs_no_number(fleet: Serving) -> None:
    failed(run(fleet, "change", "end"), "no change is under way")
    run(fleet, "change", "begin", "engine", "first", "--adapter", "support")
    assert "first, ended" in done(run(fleet, "change", "end"))
    run(fleet, "change", "begin", "engine", "second")
    run(fleet, "change", "begin", "traffic", "third")
    failed(run(fleet, "change", "end"), "2 changes are under way", "second", "third")


def test_a_fresh_start_is_for_the_adapters_named_and_can_be_declined(fleet: Serving) -> None:
    one = run(fleet, "change", "add", "base", "an adapter's base", "-a", "support")
    assert "perplexity of 1 version starts afresh" in one.err
    none = run(fleet, "change", "add", "engine", "a flag", "--no-rebaseline")
    assert done(none).strip().isdigit()
    assert none.err == ""


def test_what_happened_is_told_afterwards_and_listed(fleet: Serving) -> None:
    assert "no change was declared" in done(run(fleet, "change", "list"))
    at = datetime.now(UTC) - timedelta(days=1)
    words = ["add", "prompt", "shorter greeting", "--at", f"{at:%Y-%m-%dT%H:%M}"]
    words += ["--until", f"{at:%Y-%m-%dT%H:%M:%S}Z", "--detail", "commit=4711abc=", "-a", "support"]
    made = json.loads(done(run(fleet, "change", *words, "--json")))
    assert made["details"] == {"commit": "4711abc="}
    assert datetime.fromisoformat(made["begun_at"]) == at.replace(second=0, microsecond=0)
    listed = done(run(fleet, "change", "list", "--adapter", "support"))
    assert "shorter greeting" in listed
    assert "for admin" in listed
    assert "shorter greeting" not in done(run(fleet, "change", "list", "--adapter", "travel"))
    assert "no change is under way" in done(run(fleet, "change", "list", "--open"))
    page = json.loads(done(run(fleet, "change", "list", "--json")))
    assert [one["change"] for one in page["items"]] == [made["change"]]


def test_under_one_id_a_change_is_declared_once(fleet: Serving) -> None:
    words = ("change", "begin", "engine", "vLLM 0.33", "--id", "run-4711")
    first, second = run(fleet, *words), run(fleet, *words)
    assert done(first) == done(second)
    assert len(json.loads(done(run(fleet, "change", "list", "--json")))["items"]) == 1
    # what has ended does not begin again: a second deployment is another change
    done(run(fleet, "change", "end"))
    failed(run(fleet, *words), "was declared under this --id and has ended")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("add", "weather", "rain"), 2, "weather"),
        (("add", "engine", CUT), 1, "cannot be printed"),
        (("add", "engine", "x", "--detail", "alone"), 1, "NAME=VALUE"),
        (("add", "engine", "x", "--at", "noon"), 2, "noon"),
        (("begin", "engine", "x", "--adapter", "nobody"), 1, "no adapter is called 'nobody'"),
        (("end", "77"), 1, "There is no change 77."),
        (("list", "--adapter", "nobody"), 1, "No adapter is called 'nobody'."),
    ],
)
def test_a_script_is_told_what_is_wrong_by_code_and_word(
    fleet: Serving, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = run(fleet, "change", *words)
    assert ran.code == code
    assert said in ran.err
    assert CUT not in ran.err


def test_a_key_that_only_sends_is_told_which_scope_it_lacks(fleet: Serving) -> None:
    ran = run(fleet, "change", "begin", "engine", "x", scope=Scope.INGEST)
    failed(ran, "needs the scope 'operate'")
    assert done(run(fleet, "change", "add", "prompt", "x", scope=Scope.INGEST)).strip()


def test_an_incident_is_explained_with_what_was_declared(fleet: Serving) -> None:
    with fleet.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        found = worlds.incidents.incident_list(tx, limit=10)
    [incident] = [one.id for one in found if (one.adapter, one.kind) == ("support", "drift")]
    explained = json.loads(done(run(fleet, "explain", str(incident), "--json")))
    begun = datetime.fromisoformat(explained["onset"]["start"])
    at = f"{begun:%Y-%m-%dT%H:%M}"
    done(run(fleet, "change", "add", "engine", "vLLM 0.33", "--at", at, "--no-rebaseline"))
    said = done(run(fleet, "explain", str(incident)))
    assert "began between" in said
    assert "engine change: vLLM 0.33 (began " in said
    assert ", by for admin" in said


def test_an_incident_that_nobody_was_told_of_is_explained_in_the_same_four_parts(
    fleet: Serving,
) -> None:
    with fleet.database.begin() as tx:
        worlds.seed(tx, now=datetime.now(UTC), days=0.2)
        tx.execute(outbox.delete())
        found = worlds.incidents.incident_list(tx, limit=10)
    [incident] = [one.id for one in found if (one.adapter, one.kind) == ("support", "drift")]
    said = done(run(fleet, "incident", "show", str(incident)))
    places = [said.index(part) for part in ("Impact: ", "Likely cause: ", "Driftline: ", "You: 1)")]
    assert places == sorted(places)
    assert "are less certain than normal ones" in " ".join(said.split())
