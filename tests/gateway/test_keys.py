"""Clients need a key where the gateway asks for one, and reach only what the key is for."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from monitor.domain import Scope
from monitor.gateway import keyring
from monitor.gateway.keyring import ClientKey, KeyRing
from monitor.gateway.refusals import NO_KEY, NO_KEYS_KNOWN, GatewayRefusal
from monitor.gateway.running import OPEN, assemble, is_open
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.registry import adapters
from tests.gateway.conftest import Stage, Start, listening, route
from tests.gateway.stub_engine import StubEngine
from tests.serving import serving

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECRET = "s" * 43
ASKED = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}


def _key(**more: Any) -> ClientKey:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    return ClientKey(**({"key": "0123456789ab", "digest": digest} | more))


def _sent(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {text}".encode())]


TEXT = f"dl_0123456789ab_{SECRET}"


def test_a_key_is_known_by_its_secret_until_it_ends(tmp_path: Path) -> None:
    ring = KeyRing(time=lambda: NOW, cache=tmp_path / "keys.json")
    assert ring.admit(_sent(TEXT)) is NO_KEYS_KNOWN
    ring.update([_key()])
    assert ring.admit(_sent(TEXT)) == _key()
    for wrong in ("", TEXT[:-1] + "t", TEXT.replace("ab_", "ac_"), TEXT + "x", "dl_x", "\xff"):
        assert ring.admit(_sent(wrong)) is NO_KEY, wrong
    assert ring.admit([]) is NO_KEY
    ring.update([_key(expires_at=NOW + timedelta(seconds=1))])
    assert isinstance(ring.admit(_sent(TEXT)), ClientKey)
    ring.update([_key(expires_at=NOW)])
    assert ring.admit(_sent(TEXT)) is NO_KEY
    ring.update([])
    assert ring.admit(_sent(TEXT)) is NO_KEY


def test_a_key_is_limited_and_what_it_spent_stays_spent() -> None:
    ring = KeyRing(time=lambda: NOW)
    for _ in range(3):
        ring.update([_key(per_minute=2), _key(key="ba9876543210")])
        ring.admit(_sent(TEXT))
    refused = ring.admit(_sent(TEXT))
    assert isinstance(refused, GatewayRefusal)
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert refused.retry_after in range(1, 31)
    assert isinstance(ring.admit(_sent(TEXT.replace("0123456789ab", "ba9876543210"))), ClientKey)


def test_keys_of_an_earlier_run_admit_while_the_service_is_away(tmp_path: Path) -> None:
    cache = tmp_path / "keys.json"
    KeyRing(time=lambda: NOW, cache=cache).update([_key(adapters=frozenset({"support"}))])
    again = KeyRing(time=lambda: NOW, cache=cache)
    again.load()
    assert again.admit(_sent(TEXT)) == _key(adapters=frozenset({"support"}))
    assert SECRET not in cache.read_text()
    assert cache.stat().st_mode & 0o077 == 0
    for written in ("[1]", '[{"key":"a","digest":"x"}]', "\0"):
        cache.write_text(written)
        spoilt = KeyRing(time=lambda: NOW, cache=cache)
        spoilt.load()
        assert spoilt.admit(_sent(TEXT)) is NO_KEYS_KNOWN


@pytest.fixture
def stage(start: Start, tmp_path: Path) -> Stage:
    """A gateway that asks for keys, and knows one of ``support`` and one of everything."""
    everything = _key(key="ba9876543210", per_minute=3)
    own = _key(adapters=frozenset({"support"}))
    (tmp_path / "gateway-keys.json").write_bytes(msgspec.json.encode([own, everything]))
    return start([route(stable=1.0), route("booking", stable=1.0)], keys=True, preload=False)


def _ask(stage: Stage, text: str | None, **body: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {text}"} if text else {}
    with stage.client() as client:
        return client.post("/v1/chat/completions", json=ASKED | body, headers=headers)


def test_without_a_key_nothing_reaches_an_engine(stage: Stage) -> None:
    refused = _ask(stage, None)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    with stage.client() as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/health").status_code == 401
        assert client.get("/readyz").status_code == 200
        assert client.options("/v1/models").status_code == 401
        asked = {"origin": "https://app.test", "access-control-request-method": "POST"}
        assert client.options("/v1/chat/completions", headers=asked).status_code != 401
    assert stage.engine.asked == []


def test_a_teams_key_reaches_its_adapters_and_sees_no_others(stage: Stage) -> None:
    assert _ask(stage, TEXT).status_code == 200
    for other in ("booking", "booking@v1", "support@v1", "base", "no such model", None):
        refused = _ask(stage, TEXT, model=other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    with stage.client(headers={"authorization": f"Bearer {TEXT}"}) as client:
        listed = [one["id"] for one in client.get("/v1/models").json()["data"]]
        assert listed == ["support"]
        assert client.get("/v1/models/support").json()["id"] == "support"
        assert client.get("/v1/models/booking").status_code == 404
        assert client.get("/v1/models/base").status_code == 404
    assert {json.loads(one.raw)["model"] for one in stage.engine.asked if one.raw} == {"support@v1"}


def test_a_teams_key_reaches_nothing_that_names_no_model_or_two(
    start: Start, tmp_path: Path
) -> None:
    own = _key(adapters=frozenset({"support"}))
    (tmp_path / "gateway-keys.json").write_bytes(msgspec.json.encode([own]))
    passes = ("/v1/engines/", "/v1/rerank")
    stage = start([route(stable=1.0)], keys=True, preload=False, passes=passes)
    with stage.client(headers={"authorization": f"bearer {TEXT}"}) as client:
        for method, path in (
            ("PUT", "/v1/rerank"), ("POST", "/v1/rerank"), ("GET", "/v1/engines/booking"),
            ("POST", "/v1/engines/booking"),
        ):  # fmt: skip
            assert client.request(method, path, json=ASKED).status_code == 404, path
        twice = b'{"model":"base","model":"support","messages":[]}'
        assert client.post("/v1/chat/completions", content=twice).status_code == 200
    assert [one.raw.count(b"model") for one in stage.engine.asked if one.raw] == [1]


def test_a_key_for_everything_is_limited_and_no_engine_sees_it(stage: Stage) -> None:
    text = TEXT.replace("0123456789ab", "ba9876543210")
    answers = [_ask(stage, text, model=name) for name in ("support", "booking", "base", "support")]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) in range(1, 61)
    assert all("authorization" not in one.headers for one in stage.engine.asked)


def test_a_gateway_that_is_open_to_the_network_says_so(tmp_path: Path) -> None:
    assert not is_open(GatewaySettings())
    assert not is_open(GatewaySettings(host="0.0.0.0", keys=True))  # noqa: S104 (not listened at)
    settings = GatewaySettings(host="0.0.0.0", upstreams=("http://127.0.0.1:9",))  # noqa: S104
    assert is_open(settings)
    cache = tmp_path / "routes.json"
    cache.write_text(json.dumps([route(stable=1.0)]))
    with listening(assemble(settings, cache=cache)) as url:
        told = httpx2.get(f"{url}/readyz", trust_env=False).json()
    assert told["warnings"] == [OPEN]


def test_keys_are_made_and_revoked_at_the_service(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `driftline keys create` to a client's answer, and from its end to the refusal."""
    monkeypatch.setattr(keyring, "EVERY", 0.05)
    engine = StubEngine(models={"support@v1", "booking@v1"})
    with database.begin() as tx:
        adapters.put(tx, name="support", owner="care")
        adapters.put(tx, name="booking", owner="travel")
        made, text = keys.create(
            tx, name="app", scopes=[Scope.ASK], match={"owner": ["care"]}, per_minute=1000
        )
    cache = tmp_path / "gateway-routes.json"
    cache.write_text(json.dumps([route(stable=1.0), route("booking", stable=1.0)]))
    with serving(database, tmp_path) as service, listening(engine.app()) as upstream:
        settings = GatewaySettings(
            upstreams=(upstream,), service=service.url, key=service.keys[Scope.READ], keys=True
        )
        with listening(assemble(settings, cache=cache)) as url:
            stage = Stage(url=url, engines=[engine])
            assert _until(lambda: _ask(stage, text).status_code) == 200
            assert _ask(stage, text, model="booking").status_code == 404
            with database.begin() as tx:
                keys.revoke(tx, made.id, now=datetime.now(UTC))
            assert _until(lambda: _ask(stage, text).status_code, 401) == 401
        with service.client(Scope.READ) as client:
            listed = client.get("/v1/keys/clients")
            assert made.id not in {one["key"] for one in listed.json()["items"]}
            tag = {"if-none-match": listed.headers["etag"]}
            assert client.get("/v1/keys/clients", headers=tag).status_code == 304


def _until(ask: Any, wanted: int = 200) -> int:
    found = 0
    for _ in range(600):
        found = ask()
        if found == wanted:
            break
    return found
