"""People log in by a provider, see and do what their group may, and are out when they are out."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import RSAKey

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import Scope
from monitor.oidc.login import LoginRefused, Oidc
from monitor.oidc.settings import BACK, OidcGroup, OidcSettings
from monitor.store import audit, teams
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.registry import adapters
from tests.gateway.conftest import listening
from tests.loopback import LOOPBACK, unused_port
from tests.oidc_provider import CLIENT, SECRET, BendableProvider
from tests.serving import Serving, serving
from tests.web.conftest import Looker

ANN = {"sub": "ann-1", "email": "ann@example.com", "groups": ["staff", "payments-oncall"]}
GROUPS = {
    "payments-oncall": OidcGroup(
        scopes=(Scope.READ, Scope.OPERATE), match={"owner": ("payments",)}
    ),
    "staff": OidcGroup(),
}


def _settings(issuer: str, **more: Any) -> OidcSettings:
    fields: dict[str, Any] = {
        "issuer": issuer,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "groups": GROUPS,
    }
    return OidcSettings(**(fields | more))


def _now() -> datetime:
    return datetime.now(UTC)


def _oidc(settings: OidcSettings, back: str, *, clock: Callable[[], datetime] = _now) -> Oidc:
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=256 * 1024))
    return Oidc(settings, client=client, back=back, clock=clock)


@contextmanager
def _with_provider(database: Database, folder: Path, issuer: str, **more: Any) -> Iterator[Serving]:
    """A service whose pages know a provider; it sends people back to the service itself."""
    port = unused_port()
    back = f"http://127.0.0.1:{port}{BACK}"
    oidc = _oidc(_settings(issuer, **more), back)
    with serving(database, folder, oidc=oidc, port=port) as service:
        yield service


@pytest.fixture
def provider() -> BendableProvider:
    return BendableProvider(claims=ANN)


@pytest.fixture
def service(database: Database, tmp_path: Path, provider: BendableProvider) -> Iterator[Serving]:
    with ExitStack() as stack:
        issuer = stack.enter_context(listening(provider.app()))
        with database.begin() as tx:
            adapters.put(tx, name="cards", owner="payments")
            adapters.put(tx, name="legal", owner="law")
        yield stack.enter_context(_with_provider(database, tmp_path, issuer))


def _log_in(client: httpx2.Client) -> httpx2.Response:
    """Press the button, follow the browser's way to the provider and back."""
    away = client.get("/login/begin")
    assert away.status_code == 303, away.text
    back = httpx2.get(away.headers["location"], trust_env=False)
    assert back.status_code == 302
    place = urlsplit(back.headers["location"])
    return client.get(f"{place.path}?{place.query}")


def test_somebody_logs_in_and_sees_what_the_group_may(
    service: Serving, provider: BendableProvider
) -> None:
    with service.client() as client:
        assert "Log in with your organisation" in client.get("/login").text
        answer = _log_in(client)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
        page = client.get("/").text
        assert "cards" in page
        assert "legal" not in page
        assert client.get("/adapters/legal").status_code == 404
    [asked] = provider.asked
    assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid profile email")
    [made] = [one for one in service.database.run(keys.fetch_all) if one.person]
    assert made.name == "ann@example.com"
    assert made.scopes == {Scope.READ, Scope.OPERATE}
    assert made.match == {"owner": ["payments"]}
    assert made.person is not None
    assert made.person.startswith("http://127.0.0.1:")
    assert made.person.endswith(" ann-1")
    assert made.expires_at is not None
    with service.database.begin() as tx:
        [entry] = [one for one in audit.newest(tx) if one.act == "login"]
    assert (entry.actor, entry.subject) == ("ann@example.com", made.id)
    assert entry.details["person"] == made.person


def test_logging_out_ends_the_login_everywhere_and_so_does_revoking_its_key(
    service: Serving,
) -> None:
    with service.client() as here, service.client() as elsewhere:
        _log_in(here)
        elsewhere.cookies.update(here.cookies)
        assert here.post("/logout").status_code == 303
        assert elsewhere.get("/").status_code == 303
        [ended] = [one for one in service.database.run(keys.fetch_all) if one.person]
        assert ended.revoked_at is not None
        _log_in(here)
        assert here.get("/").status_code == 200
        with service.database.begin() as tx:
            newest = keys.fetch_all(tx)[0]
            assert newest.person is not None
            keys.revoke(tx, newest.id, now=_now())
        assert here.get("/").status_code == 303
    with service.client() as person:
        person.post("/login", data={"key": service.keys[Scope.READ]})
        person.post("/logout")
        again = person.post("/login", data={"key": service.keys[Scope.READ]})
        assert again.headers["location"] == "/", "a key of its own outlives a session"


BENT: dict[str, dict[str, Any]] = {
    "issuer": {"iss": "https://elsewhere.test"},
    "audience": {"aud": [CLIENT, "another"]},
    "authorized party": {"azp": "another"},
    "end": {"exp": 10**400},
    "beginning": {"iat": 4_000_000_000},
    "nonce": {"nonce": "x"},
    "subject": {"sub": None},
}


@pytest.mark.parametrize("what", BENT)
def test_a_token_that_is_not_for_this_login_logs_nobody_in(
    service: Serving, provider: BendableProvider, what: str
) -> None:
    provider.bent = BENT[what]
    with service.client() as client:
        answer = _log_in(client)
    assert (answer.status_code, f"has a wrong {what}" in answer.text) == (403, True)
    assert not any(one.person for one in service.database.run(keys.fetch_all))


def test_a_token_signed_by_somebody_else_logs_nobody_in(
    service: Serving, provider: BendableProvider
) -> None:
    provider.shown = RSAKey.generate_key(2048, {"kid": "1"})
    with service.client() as client:
        answer = _log_in(client)
    assert (answer.status_code, "not signed by it" in answer.text) == (403, True)


def test_keys_that_a_provider_has_changed_are_asked_for_again(
    service: Serving, provider: BendableProvider
) -> None:
    with service.client() as client:
        _log_in(client)
        provider.key = RSAKey.generate_key(2048, {"kid": "2"})
        assert _log_in(client).status_code == 303


@pytest.mark.parametrize(
    ("claims", "userinfo", "status"),
    [
        (ANN | {"groups": "staff"}, {}, 303),
        (ANN | {"groups": ["guests"]}, {}, 403),
        (ANN | {"groups": {"staff": True}}, {}, 403),
        ({"sub": "ann-1"}, {"sub": "ann-1", "groups": ["staff"]}, 303),
        ({"sub": "ann-1"}, {"sub": "bob-2", "groups": ["staff"]}, 403),
        ({"sub": "ann-1"}, {}, 403),
        (ANN | {"sub": "a\u202e"}, {}, 403),
    ],
)
def test_groups_come_with_the_token_or_from_the_provider(
    service: Serving,
    provider: BendableProvider,
    claims: dict[str, Any],
    userinfo: dict[str, Any],
    status: int,
) -> None:
    provider.claims, provider.userinfo = claims, userinfo
    with service.client() as client:
        answer = _log_in(client)
    assert answer.status_code == status, answer.text
    if status == 403:
        said = "None of your groups may log in here." in answer.text
        assert said or "has a wrong subject" in answer.text


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ann@example.com", "email_verified": False}, "ann-1"),
        ({"email": "driftline"}, "ann-1"),
        ({"email": "cli"}, "ann-1"),
        ({"email": "config"}, "ann-1"),
        ({"email": None}, "ann-1"),
        ({"email": ["x"]}, "ann-1"),
        ({"email": " ann\u202e@example.com\n"}, "ann@example.com"),
    ],
)
def test_nobody_is_audited_under_a_name_that_is_not_theirs(
    service: Serving, provider: BendableProvider, claims: dict[str, Any], name: str
) -> None:
    provider.claims = ANN | claims
    with service.client() as client:
        _log_in(client)
    [made] = [one for one in service.database.run(keys.fetch_all) if one.person]
    assert made.name == name


@pytest.mark.parametrize("own", ["cli", "driftline:action-7"])
def test_somebody_whom_a_provider_names_as_driftline_names_itself_gets_the_issuers_name(
    service: Serving, provider: BendableProvider, own: str
) -> None:
    provider.claims = ANN | {"sub": own, "email": "driftline"}
    with service.client() as client:
        _log_in(client)
    [made] = [one for one in service.database.run(keys.fetch_all) if one.person]
    assert made.name == made.person
    assert made.name.endswith(f" {own}")


def test_a_team_of_a_database_without_views_is_told_that_nobody_of_it_can_log_in(
    service: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "ready", lambda _tx: False)
    with service.client() as client:
        answer = _log_in(client)
    assert answer.status_code == 403
    assert "Nobody can log in for this group: this database has no views" in answer.text


def test_an_address_whose_logins_come_to_nothing_has_to_wait(service: Serving) -> None:
    with service.client() as client:
        answers = [client.get(f"{BACK}?code=x&state=y").status_code for _ in range(21)]
        assert answers == [403] * 20 + [429]
        assert client.post("/login", data={"key": service.keys[Scope.READ]}).status_code == 303


def test_a_person_presses_the_button_in_a_browser(
    service: Serving, look: Callable[..., Looker]
) -> None:
    """What a page may send a form to does not keep anybody from the provider."""
    looker = look()
    looker.page.goto(f"{service.url}/login")
    looker.click("text=Log in with your organisation")
    looker.page.wait_for_url(f"{service.url}/")
    assert "cards" in looker.page.inner_text("main")
    assert looker.complaints == []


def test_a_secret_goes_in_the_body_where_the_provider_wants_it_there(
    service: Serving, provider: BendableProvider
) -> None:
    provider.methods = ("client_secret_post",)
    with service.client() as client:
        assert _log_in(client).status_code == 303


def test_a_login_of_another_browser_is_refused(service: Serving) -> None:
    with service.client() as victim, service.client() as attacker:
        away = attacker.get("/login/begin").headers["location"]
        back = urlsplit(httpx2.get(away, trust_env=False).headers["location"])
        answer = victim.get(f"{back.path}?{back.query}")
        assert (answer.status_code, "not begun in this browser" in answer.text) == (403, True)
        victim.get("/login/begin")
        attempt = victim.cookies["driftline_login"]
        answer = victim.get(f"{back.path}?{back.query}")
        assert (answer.status_code, "not begun in this browser" in answer.text) == (403, True)
        victim.cookies.set("driftline_session", attempt)
        assert victim.get("/").status_code == 303, "a cookie of another purpose"


def test_what_goes_wrong_at_the_provider_is_said_and_keys_still_work(
    service: Serving, provider: BendableProvider
) -> None:
    with service.client() as client:
        provider.status = 503
        answer = _log_in(client)
        assert (answer.status_code, "with status 503" in answer.text) == (403, True)
        answer = client.get(f"{BACK}?error=access_denied&state=x")
        assert answer.status_code == 403
        assert "A key that may read" in answer.text
        assert client.post("/login", data={"key": service.keys[Scope.READ]}).status_code == 303


def test_another_site_begins_no_login(service: Serving) -> None:
    with service.client() as client:
        answer = client.get("/login/begin", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_a_provider_that_is_away_or_another_one_is_told_so() -> None:
    away = _oidc(_settings(f"http://127.0.0.1:{unused_port()}"), "http://x/back")
    with pytest.raises(LoginRefused, match="cannot be asked"):
        away.begin()
    other = BendableProvider(claims=ANN, issuer="https://other.test").app()
    with listening(other) as issuer, pytest.raises(LoginRefused, match="another name"):
        _oidc(_settings(issuer), "http://x/back").begin()


def test_old_logins_are_forgotten_at_the_next(database: Database) -> None:
    with database.begin() as tx:
        for person, name, days in (("i ann", "ann", 40), ("i bob", "bob", 40), ("i ann", "ann", 0)):
            now = _now() - timedelta(days=days)
            until = now + timedelta(hours=12)
            keys.log_in(
                tx,
                person=person, name=name, scopes=[Scope.READ], match={}, now=now, until=until,
            )  # fmt: skip
        assert [one.name for one in keys.fetch_all(tx)] == ["ann"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"client_id": ""}, "client_id: is missing"),
        ({"issuer": "http://login.test"}, "issuer: must be an https:// address"),
        ({"groups": {}}, "groups: is missing"),
        ({"scopes": ("email",)}, "scopes: openid must be among them"),
        (
            {"groups": {"a": OidcGroup(scopes=(Scope.ADMIN,), match={"owner": ("x",)})}},
            "groups.a: admin cannot be bound to adapters",
        ),
        (
            {"groups": {"a": OidcGroup(scopes=(Scope.ASK,))}},
            "groups.a.scopes: people read, operate or administer",
        ),
    ],
)
def test_settings_that_cannot_work_are_named(more: dict[str, Any], problem: str) -> None:
    settings = _settings(**({"issuer": "https://login.test"} | more))
    assert settings.problems == [problem]
    assert replace(settings, issuer="").problems == []


def test_a_provider_made_by_others_logs_somebody_in(database: Database, tmp_path: Path) -> None:
    """``oidc-provider-mock`` runs as a process of its own, and sends groups as a user's claim."""
    port = unused_port()
    issuer = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await(f"{issuer}/.well-known/openid-configuration")
            told = httpx2.put(
                f"{issuer}/users/ann-1",
                json={"email": "ann@example.com", "groups": ["staff"]},
                trust_env=False,
            )
            assert told.is_success, told.text
            with (
                _with_provider(database, tmp_path, issuer) as service,
                service.client() as client,
            ):
                away = client.get("/login/begin").headers["location"]
                sent = httpx2.post(away, data={"sub": "ann-1"}, trust_env=False)
                back = urlsplit(sent.headers["location"])
                assert set(parse_qs(back.query)) >= {"code", "state"}
                answer = client.get(f"{back.path}?{back.query}")
                assert (answer.status_code, answer.headers.get("location")) == (303, "/")
                assert client.get("/").status_code == 200
        finally:
            process.terminate()


def _await(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx2.get(url, trust_env=False)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"nobody answers at {url}")
