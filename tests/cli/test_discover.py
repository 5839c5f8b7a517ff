"""What `discover` tells of engines as they are, and as they should not be."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from monitor.domain import Scope
from monitor.store.database import Database
from tests.cli.command import Ran, driftline, failed, process
from tests.loopback import Receiver, answer, unused_port
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as faked
from tests.serving import Serving, serving


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path) as running:
        yield running


def told(registry: Serving, *scopes: Scope, **more: str) -> dict[str, str]:
    key = registry.keys[scopes[0] if scopes else Scope.ADMIN]
    return {"DRIFTLINE_URL": registry.url, "DRIFTLINE_KEY": key} | more


@dataclass
class ByModel(FakeEngine):
    """An engine whose models differ: nats per token by name, .9 where none is given."""

    expected: Mapping[str, float] = field(default_factory=dict)

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        self.nll = self.expected.get(body["model"], 0.9)
        return super().complete(path, body)


def check(url: str, *words: str) -> Ran:
    return driftline("discover", url, "--check-only", *words)


def states(ran: Ran) -> dict[str, Any]:
    return {one["model"]: one["state"] for one in json.loads(ran.out)["adapters"]}


def test_each_adapter_of_an_engine_is_told_correctly(engine: str) -> None:
    ran = check(engine, "--json")
    assert ran.code == 5, ran
    assert states(ran) == {
        "support@v1": "applied",
        "support@v2": "applied",
        "travel@v1": "mixed_up",
        "booking": "mixed_up",
        "unapplied@v1": "not_applied",
        "scaled@v1": "applied",  # wrong, but applied: nothing to compare with before registration
    }
    found = {one["model"]: one for one in json.loads(ran.out)["adapters"]}
    assert (found["booking"]["sibling"], found["travel@v1"]["sibling"]) == ("travel@v1", "booking")
    assert found["unapplied@v1"]["kl"] < 1e-6
    assert found["support@v1"]["kl"] > 0.1
    assert found["support@v1"]["reason"].startswith("applied: ")
    assert json.loads(ran.out)["floor"] == 1e-3


def test_adapters_are_registered_and_then_told_whether_they_are_applied(
    engine: str, registry: Serving
) -> None:
    ran = process("discover", engine, environ=told(registry))
    assert ran.code == 5, ran
    assert "support@v1: registered new" in ran.err
    for words in (
        "NOT APPLIED",
        "EQUAL TO booking",
        "unapplied@v1: not applied: it answers as the base does",
        "booking: mixed up, unless both hold the same weights: it answers as another adapter does",
        "; the other adapter: travel@v1\n",
        "; the other adapter: booking\n",
        f'engines = ["{engine}"]',
    ):
        assert words in ran.out
    with registry.client(Scope.READ) as client:
        version = client.get("/v1/adapters/support/versions/v2").json()
        plain = client.get("/v1/adapters/booking/versions/v1").json()
    assert version["model"] == "support@v2"
    assert version["base_model"] == "base"
    assert version["uri"].endswith("/examples/models/support-v2")
    assert plain["model"] == "booking"


def test_what_is_registered_already_stays_as_it_is(registry: Serving) -> None:
    body = {"model": "support@v7", "uri": "/models/a", "metrics": {"loss": 1.5}}
    with registry.client(Scope.ADMIN) as client:
        put = client.put("/v1/adapters/help-desk/versions/seventh", json=body)
        assert put.status_code == 200
        with faked(FakeEngine()) as url:
            ran = process("discover", url, "--json", environ=told(registry))
        after = client.get("/v1/adapters/help-desk/versions/seventh").json()
        fleet = client.get("/v1/adapters").json()["items"]
    [found] = json.loads(ran.out)["adapters"]
    assert found["registered"] == "already, as help-desk@seventh"
    assert after == put.json()
    assert [one["adapter"] for one in fleet] == ["help-desk"]


def test_an_engine_that_the_config_lists_needs_no_line(registry: Serving) -> None:
    with faked(FakeEngine()) as url:
        listed = told(registry, DRIFTLINE_SERVING__ENGINES=json.dumps([f"{url}/v1/"]))
        ran = process("discover", url, "--json", environ=listed)
    assert json.loads(ran.out)["serving"] is None


def test_a_key_that_may_not_register_is_told_for_each_adapter(registry: Serving) -> None:
    with faked(FakeEngine()) as url:
        ran = process("discover", url, environ=told(registry, Scope.READ))
    assert "support@v7: registered refused: " in ran.err
    assert "scope 'operate'" in ran.err
    assert "is it applied?" in ran.out


def test_a_second_name_of_kserve_is_no_second_adapter() -> None:
    plain: list[dict[str, str | None]] = [
        {"id": "base"},
        {"id": "support@v7", "parent": "base", "root": "/mnt/lora/support"},
    ]
    models = plain + [one | {"id": f"publishers/llm/models/{one['id']}"} for one in plain]
    with faked(FakeEngine(models=models)) as url:
        ran = driftline("discover", url, "--list-only", "--json")
    assert [one["model"] for one in json.loads(ran.out)["adapters"]] == ["support@v7"], ran


def test_listing_asks_no_model_and_no_service() -> None:
    fake = FakeEngine()
    with faked(fake) as url:
        ran = driftline("discover", url, "--list-only", "--json")
        shown = driftline("discover", f"{url}/v1/", "--list-only")
    assert ran.code == 0
    assert json.loads(ran.out)["adapters"] == [
        {"model": "support@v7", "adapter": "support", "version": "v7", "base": "base", "root": None}
    ]
    assert "adapters that would be registered" in shown.out
    assert fake.completions == []


@pytest.mark.parametrize(
    ("model", "adapter", "version"),
    [
        ("support@v7", "support", "v7"),
        ("acme/support@v7", "acme/support", "v7"),
        ("ops@acme@v7", "ops@acme", "v7"),
        ("support", "support", "v1"),
        ("support@", "support@", "v1"),
        ("@v7", "@v7", "v1"),
    ],
)
def test_a_served_name_is_split_at_its_last_at(model: str, adapter: str, version: str) -> None:
    fake = FakeEngine(models=[{"id": "base", "parent": None}, {"id": model, "parent": "base"}])
    with faked(fake) as url:
        ran = driftline("discover", url, "--list-only", "--json")
    [found] = json.loads(ran.out)["adapters"]
    assert (found["adapter"], found["version"]) == (adapter, version)


def test_a_name_without_a_version_may_stand_for_one() -> None:
    folder = "/models/support/v7"
    base: dict[str, str | None] = {"id": "base", "parent": None}
    plain, seventh, eighth = (
        base | {"id": name, "parent": "base", "root": folder}
        for name in ("support", "support@v7", "support@v8")
    )
    # the fake engine's base expects something else: the adapters are applied
    scored = {"base": 0.5}
    for models, wanted in (
        ([base, plain, seventh], {"support": "applied", "support@v7": "applied"}),
        ([base, seventh, eighth], {"support@v7": "mixed_up", "support@v8": "mixed_up"}),
    ):
        with faked(ByModel(models=models, expected=scored)) as url:
            assert states(check(url, "--json")) == wanted


def test_an_engine_that_fails_is_left_alone_at_once() -> None:
    models: list[dict[str, str | None]] = [
        {"id": "base", "parent": None},
        {"id": "a@v1", "parent": "base"},
        {"id": "b@v1", "parent": "base"},
    ]
    # base twice and a: 3 * 88 texts are read before b's fifth breaks it
    fake = FakeEngine(models=models, fail_at=3 * 88 + 5)
    with faked(fake) as url:
        ran = check(url)
        asked = len(fake.completions)
    assert asked == 3 * 88 + 5
    assert ran.code == 5  # a answers as the base does: that much is known
    assert "the engine was left alone while b@v1 was asked" in ran.out
    assert "HTTP 500" in ran.out
    assert "not known" in ran.out
    assert fake.most_at_once == 1


def test_not_knowing_is_a_failure() -> None:
    fake = FakeEngine(fail_at=1)
    with faked(fake) as url:
        ran = check(url, "--json")
    assert ran.code == 1
    assert states(ran) == {"support@v7": "unknown"}
    assert "while base was asked" in json.loads(ran.out)["stopped"]


def test_real_prompts_take_the_place_of_sentences(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(f"where is parcel {number}" for number in range(200)))
    fake = FakeEngine()
    with faked(fake) as url:
        ran = check(url, "--prompts", str(file))
        missing = check(url, "--prompts", str(tmp_path / "nowhere.txt"))
    assert ran.code == 5
    asked = {body["prompt"] for body in fake.completions if "parcel" in body["prompt"]}
    assert len(asked) == 64
    failed(missing, "nowhere.txt: No such file or directory")


def test_an_engine_without_adapters_is_told_what_that_means() -> None:
    with faked(FakeEngine(models=[{"id": "llama", "parent": None}], owner="llamacpp")) as url:
        failed(check(url), "serves llama; none of it names a parent", "llama.cpp")
    with faked(FakeEngine(models=[])) as url:
        failed(check(url), "serves nothing;")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"{}", "wants another key"),
        (200, b"<html>", "is no list of models (HTTP 200)"),
        (200, b'{"data": {"id": 1}}', "is no list of models"),
        (200, b'{"data": ["base"]}', "is no list of models"),
        (500, b"", "is no list of models (HTTP 500)"),
    ],
)
def test_what_is_no_engine_is_told(status: int, body: bytes, said: str) -> None:
    with Receiver([answer(status, body=body)]) as other:
        failed(check(f"http://127.0.0.1:{other.port}"), said)


def test_an_engine_out_of_reach_is_told() -> None:
    failed(check(f"http://127.0.0.1:{unused_port()}"), "out of reach")
    failed(check("somewhere:8000"), "no address of an engine")
    failed(check("http://169.254.169.254"), "out of reach")


def test_a_hostile_name_is_written_out() -> None:
    name = "evil\x1b]0;owned\x07[bold]@v1"
    fake = FakeEngine(models=[{"id": "base", "parent": None}, {"id": name, "parent": "base"}])
    with faked(fake) as url:
        ran = check(url)
    assert "\x1b" not in ran.out + ran.err
    assert "\\x1b]0;owned\\x07[bold]@v1" in ran.out


@pytest.mark.parametrize(
    ("listed", "words", "sent"),
    [
        pytest.param("http://10.9.8.7:8000", [], None, id="another host"),
        pytest.param("https://127.0.0.1", [], None, id="the same host, but in clear"),
        pytest.param("http://127.0.0.1:1/v1", [], "Bearer s3cret", id="a host of the config"),
        pytest.param("http://10.9.8.7:8000", ["--send-key"], "Bearer s3cret", id="asked for"),
    ],
)
def test_the_engines_key_goes_to_hosts_of_the_config_unless_asked_for(
    listed: str, words: list[str], sent: str | None
) -> None:
    environ = {
        "DRIFTLINE_SERVING__ENGINES": json.dumps([listed]),
        "DRIFTLINE_SERVING__API_KEY": "s3cret",
    }
    for command in (["discover", "--check-only"], ["parity", "base", "support@v7", "--engine"]):
        fake = FakeEngine(fail_at=2)  # one answer of hundreds is enough
        with faked(fake) as url:
            ran = driftline(*command, url, *words, environ=environ)
        assert len(fake.completions) == 2, ran
        assert fake.keys == {sent}
        assert ("--send-key sends it" in ran.err) is (sent is None)
        assert "s3cret" not in ran.out + ran.err
