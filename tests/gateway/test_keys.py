"""Clients need a key where the gateway asks for one, and reach only what the key is for."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from monitor.domain import Scope
from monitor.gateway import keyring
from monitor.gateway.keyring import ClientKey, KeyRing
from monitor.gateway.passing import CLIENTS
from monitor.gateway.refusals import NO_KEY, NO_KEYS_KNOWN, NO_READER, GatewayRefusal
from monitor.gateway.running import OPEN, assemble, is_open
from monitor.gateway.settings import GatewaySettings
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.registry import adapters
from tests.gateway.conftest import Stage, Start, listening, route
from tests.gateway.stub_engine import StubEngine
from tests.gateway.stub_service import StubService
from tests.serving import serving

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECRET = "s" * 43
ASKED = {"model": "support", "messages": [{"role": "user", "content": "hi"}]}


def _key(**more: Any) -> ClientKey:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    known: dict[str, Any] = {"key": "0123456789ab", "digest": digest, "asks": True}
    return ClientKey(**(known | more))


def _sent(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {text}".encode())]


CARE = {"owner": ["care"]}
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


def test_keys_as_an_earlier_release_told_or_cached_them_ask_and_do_not_read(tmp_path: Path) -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    cache = tmp_path / "keys.json"
    cache.write_text(json.dumps([{"key": "0123456789ab", "digest": digest}]))
    ring = KeyRing(time=lambda: NOW, cache=cache)
    ring.load()
    assert isinstance(ring.admit(_sent(TEXT)), ClientKey)
    assert ring.reader(_sent(TEXT)) is NO_READER


def test_who_only_reads_asks_nothing_and_who_only_asks_reads_nothing() -> None:
    ring = KeyRing(time=lambda: NOW)
    assert ring.reader(_sent(TEXT)) is NO_KEYS_KNOWN
    ring.update([_key()])
    assert ring.reader(_sent(TEXT)) is ring.reader([]) is NO_READER
    ring.update([_key(asks=False, reads=True)])
    assert ring.reader(_sent(TEXT)) == _key(asks=False, reads=True)
    assert ring.reader(_sent(TEXT[:-1] + "t")) is NO_READER
    assert ring.admit(_sent(TEXT)) is NO_KEY
    ring.update([_key(reads=True, expires_at=NOW)])
    assert ring.reader(_sent(TEXT)) is NO_READER


def test_reading_spends_none_of_what_a_client_may_ask() -> None:
    ring = KeyRing(time=lambda: NOW)
    ring.update([_key(reads=True, per_minute=1)])
    read = [ring.reader(_sent(TEXT)) for _ in range(3)]
    assert read == [_key(reads=True, per_minute=1)] * 3
    assert isinstance(ring.admit(_sent(TEXT)), ClientKey)


@pytest.fixture
def stage(start: Start, tmp_path: Path) -> Stage:
    """A gateway that asks for keys, and knows one of ``support`` and one of everything."""
    everything = _key(key="ba9876543210", reads=True, per_minute=3)
    own = _key(reads=True, adapters=frozenset({"support"}))
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


def test_metrics_are_read_with_a_key_and_a_teams_are_of_its_adapters(stage: Stage) -> None:
    everything = TEXT.replace("0123456789ab", "ba9876543210")
    for text, name in ((TEXT, "support"), (everything, "booking"), (everything, "base")):
        assert _ask(stage, text, model=name).status_code == 200
    refused = _scraped(stage, None)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    seen, known = _scraped(stage, TEXT).text, _scraped(stage, everything).text
    assert "booking" not in seen
    assert "process_cpu_seconds_total" not in seen
    own = [line for line in known.splitlines() if 'adapter="support"' in line]
    of_traffic = [line for line in own if line.startswith("driftline_gateway_requests_total")]
    assert of_traffic
    assert set(of_traffic) <= set(seen.splitlines())
    for name in ('adapter="booking"', 'adapter=""', "process_cpu_seconds_total"):
        assert name in known
    alone = _scraped(stage, TEXT, ["driftline_gateway_requests_total"]).text
    assert {line.split("{")[0] for line in alone.splitlines() if line[:1] != "#"} == {
        "driftline_gateway_requests_total"
    }


def _scraped(stage: Stage, text: str | None, names: Sequence[str] = ()) -> httpx2.Response:
    headers = {"authorization": f"Bearer {text}"} if text else {}
    with stage.client() as client:
        return client.get("/metrics", headers=headers, params={"name[]": list(names)})


@pytest.mark.parametrize("known", [None, TEXT])
def test_no_path_names_adapters_to_strangers_nor_other_teams(
    start: Start, known: str | None
) -> None:
    """Not even while it refuses a route, which is what people look into."""
    own = _key(reads=True, adapters=frozenset({"support"}))
    told = StubService(
        routes=[route(stable=1.0), route("booking", generation=1, stable=1.0)],
        keys=[msgspec.to_builtins(own)],
    )
    kept = [route(stable=1.0), route("booking", generation=2, stable=1.0)]
    with listening(told.app()) as service:
        stage = start(kept, keys=True, preload=False, service=service)
        with stage.client() as client:
            warned = _until(lambda: len(client.get("/readyz").json()["warnings"]), 1)
        headers = {"authorization": f"Bearer {known}"} if known else {}
        pages = ("/livez", "/readyz", "/metrics", "/v1/models/booking", "/no-such-page")
        with stage.client(headers=headers) as client:
            answers = [
                client.request(method, path, json=ASKED | {"model": "booking"})
                for path in (*CLIENTS, *pages)
                for method in ("GET", "POST", "HEAD", "OPTIONS")
            ]
    assert warned == 1
    names = ("booking",) if known else ("support", "booking")
    for one in answers:
        assert not any(name in f"{one.text} {one.headers}" for name in names), one.url
    statuses = {one.status_code for one in answers}
    assert 200 in statuses
    assert (401 in statuses) is (known is None)


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


def test_a_gateway_is_told_who_asks_and_who_reads_and_no_logins(
    database: Database, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    with database.begin() as tx:
        adapters.put(tx, name="support", owner="care")
        adapters.put(tx, name="booking", owner="travel")
        made = {
            "asks": keys.create(tx, name="app", scopes=[Scope.ASK])[0].id,
            "both": keys.create(tx, name="own", scopes=[Scope.ASK, Scope.READ], match=CARE)[0].id,
            "sends": keys.create(tx, name="sender", scopes=[Scope.INGEST])[0].id,
            "all": keys.create(tx, name="root", scopes=[Scope.ADMIN])[0].id,
            "login": keys.log_in(
                tx, person="p", name="ann", scopes=[Scope.READ], match={}, now=now,
                until=now + timedelta(hours=1),
            ).id,
        }  # fmt: skip
    with serving(database, tmp_path) as service, service.client(Scope.READ) as client:
        items = client.get("/v1/keys/clients", params={"readers": True}).json()["items"]
        to_earlier = {one["key"] for one in client.get("/v1/keys/clients").json()["items"]}
    told = {one["key"]: (one["asks"], one["reads"], one["adapters"]) for one in items}
    assert {name: told.get(key) for name, key in made.items()} == {
        "asks": (True, False, None),
        "both": (True, True, ["support"]),
        "sends": None,
        "all": (False, True, None),
        "login": None,
    }
    assert {made[name] for name in ("asks", "both", "all")} & to_earlier == {
        made["asks"],
        made["both"],
    }, "it takes each for one that asks"


def _until(ask: Any, wanted: int = 200) -> int:
    found = 0
    for _ in range(600):
        found = ask()
        if found == wanted:
            break
    return found
