"""People log in by a provider that others made and the OpenID Foundation certified."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import Scope
from monitor.oidc.login import Oidc
from monitor.oidc.settings import BACK, OidcGroup, OidcSettings
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.registry import adapters
from tests.loopback import LOOPBACK, unused_port
from tests.oidc_provider import CLIENT, SECRET
from tests.serving import Serving, serving
from tests.web.certified_provider import Visitor, certified, changed
from tests.web.conftest import Looker

GROUPS = {
    "ml-platform": OidcGroup(scopes=(Scope.ADMIN,)),
    "payments-oncall": OidcGroup(
        scopes=(Scope.READ, Scope.OPERATE), match={"owner": ("payments",)}
    ),
    "staff": OidcGroup(),
}


@dataclass(frozen=True)
class _Places:
    """Ports of a provider and of the service that it sends people back to."""

    provider: int = field(default_factory=unused_port)
    service: int = field(default_factory=unused_port)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.provider}"

    @property
    def back(self) -> str:
        return f"http://127.0.0.1:{self.service}{BACK}"


def _rsa(kid: str = "1") -> Key:
    return RSAKey.generate_key(2048, {"kid": kid})


@pytest.fixture(scope="module")
def places() -> Iterator[_Places]:
    """A provider for all tests that change nothing of it."""
    found = _Places()
    with certified(found.back, port=found.provider, key=_rsa()):
        yield found


def _service(database: Database, folder: Path, places: _Places) -> AbstractContextManager[Serving]:
    settings = OidcSettings(
        issuer=places.issuer, client_id=CLIENT, client_secret=SECRET, groups=GROUPS
    )
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=256 * 1024))
    oidc = Oidc(settings, client=client, back=places.back, clock=lambda: datetime.now(UTC))
    with database.begin() as tx:
        adapters.put(tx, name="cards", owner="payments")
        adapters.put(tx, name="legal", owner="law")
    return serving(database, folder, oidc=oidc, port=places.service)


@pytest.fixture
def service(database: Database, tmp_path: Path, places: _Places) -> Iterator[Serving]:
    with _service(database, tmp_path, places) as running:
        yield running


def _log_in(
    client: httpx2.Client, visitor: Visitor, *, going: Mapping[str, str | None] | None = None
) -> httpx2.Response:
    """Press the button, fill in the provider's forms, and come back.

    ``going`` changes what the browser tells the provider.
    """
    away = client.get("/login/begin")
    assert away.status_code == 303, away.text
    place = changed(away.headers["location"], **(going or {}))
    return _came_back(client, visitor.go(place, until=str(client.base_url.join(BACK))))


def _came_back(client: httpx2.Client, place: str) -> httpx2.Response:
    parts = urlsplit(place)
    return client.get(f"{parts.path}?{parts.query}")


def _logins(service: Serving) -> list[keys.Key]:
    return [one for one in service.database.run(keys.fetch_all) if one.person]


KEYS: Mapping[str, Callable[[], Key]] = {
    "RS256": _rsa,
    "PS256": _rsa,
    "ES256": lambda: ECKey.generate_key("P-256", {"kid": "1"}),
    **dict.fromkeys(("EdDSA", "Ed25519"), lambda: OKPKey.generate_key("Ed25519", {"kid": "1"})),
}


@pytest.mark.parametrize(
    ("algorithm", "method", "settings"),
    [
        ("RS256", "client_secret_basic", {}),
        ("PS256", "client_secret_post", {"conformIdTokenClaims": False}),
        ("ES256", "client_secret_post", {}),
        ("Ed25519", "client_secret_basic", {"conformIdTokenClaims": False}),
        pytest.param(
            *("EdDSA", "client_secret_basic", {}),
            marks=pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),
        ),
    ],
)
def test_somebody_logs_in_whatever_the_provider_signs_with_and_wherever_it_says_the_groups(
    database: Database, tmp_path: Path, algorithm: str, method: str, settings: dict[str, Any]
) -> None:
    places, visitor = _Places(), Visitor("ann")
    with (
        certified(
            places.back,
            port=places.provider,
            key=KEYS[algorithm](),
            algorithm=algorithm,
            method=method,
            settings=settings | {"clientAuthMethods": [method]},
        ),
        _service(database, tmp_path, places) as service,
        service.client() as client,
    ):
        answer = _log_in(client, visitor)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
        page = client.get("/").text
    assert visitor.filled == ["login", "consent"]
    assert ("cards" in page, "legal" in page) == (True, False)
    [made] = _logins(service)
    assert (made.name, made.person) == ("ann@example.com", f"{places.issuer} ann")


@pytest.mark.parametrize(
    ("person", "scopes", "match"),
    [
        ("ann", {Scope.READ, Scope.OPERATE}, {"owner": ["payments"]}),
        ("bob", {Scope.READ}, {}),
        ("mia", {Scope.READ, Scope.ADMIN}, {}),
    ],
)
def test_a_persons_groups_say_what_the_person_may(
    service: Serving, person: str, scopes: set[Scope], match: dict[str, list[str]]
) -> None:
    with service.client() as client:
        answer = _log_in(client, Visitor(person))
    assert answer.status_code == 303, answer.text
    [made] = _logins(service)
    assert made.scopes == scopes
    assert made.match == match


def test_somebody_of_other_groups_is_not_let_in(service: Serving) -> None:
    with service.client() as client:
        answer = _log_in(client, Visitor("eve"))
        assert (answer.status_code, "None of your groups" in answer.text) == (403, True)
        assert client.get("/").status_code == 303
    assert _logins(service) == []


@pytest.mark.parametrize(
    ("going", "said"),
    [
        ({"nonce": "of-another-login"}, "its ID token has a wrong nonce."),
        ({"nonce": None}, "its ID token has a wrong nonce."),
        ({"state": "of-another-login"}, "not begun in this browser"),
        ({"client_id": "other"}, "its tokens came with status 400."),
        ({"code_challenge": "A" * 43}, "its tokens came with status 400."),
        ({"code_challenge": None, "code_challenge_method": None}, "did not log you in"),
        ({"scope": "email"}, "did not log you in"),
    ],
)
def test_a_login_that_was_tampered_with_on_its_way_logs_nobody_in(
    service: Serving, going: Mapping[str, str | None], said: str
) -> None:
    with service.client() as client:
        answer = _log_in(client, Visitor("ann"), going=going)
    assert answer.status_code == 403
    assert said in answer.text
    assert _logins(service) == []


def test_the_token_of_another_client_is_refused_though_all_else_fits(
    database: Database, tmp_path: Path
) -> None:
    """The provider hands out its own signed token, with this login's nonce, for ``other``."""
    places, visitor = _Places(), Visitor("ann")
    with (
        certified(places.back, port=places.provider, key=_rsa(), swapped=True) as issuer,
        _service(database, tmp_path, places) as service,
        service.client() as client,
    ):
        away = client.get("/login/begin").headers["location"]
        theirs = changed(away, client_id="other", code_challenge=_CHALLENGE)
        [code] = httpx2.URL(visitor.go(theirs, until=places.back)).params.get_list("code")
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": places.back,
            "code_verifier": _VERIFIER,
        }
        taken = httpx2.post(f"{issuer}/token", data=fields, auth=_basic(), trust_env=False)
        assert "id_token" in taken.json()
        answer = _came_back(client, visitor.go(away, until=places.back))
    assert (answer.status_code, "has a wrong audience" in answer.text) == (403, True)
    assert _logins(service) == []


_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
"""The pair of RFC 7636, appendix B."""


def _basic() -> tuple[str, str]:
    """As RFC 6749 writes them: percent-encoded first."""
    return "other", "a%20secret%3A%20with%20%2F%20signs"


def test_a_code_counts_once(service: Serving) -> None:
    with service.client() as client:
        away = client.get("/login/begin").headers["location"]
        cookie = client.cookies["driftline_login"]
        place = Visitor("ann").go(away, until=f"{service.url}{BACK}")
        assert _came_back(client, place).status_code == 303
        answer = _came_back(client, place)
        assert (answer.status_code, "not begun in this browser" in answer.text) == (403, True)
        client.cookies.set("driftline_login", cookie)
        answer = _came_back(client, place)
        assert (answer.status_code, "came with status 400" in answer.text) == (403, True)
    assert len(_logins(service)) == 1


def test_the_keys_of_a_provider_change_while_the_service_runs(
    database: Database, tmp_path: Path
) -> None:
    places = _Places()
    with _service(database, tmp_path, places) as service, service.client() as client:
        for kid in ("1", "2", "2"):  # the last one: another key under a name that is known
            with certified(places.back, port=places.provider, key=_rsa(kid)):
                assert _log_in(client, Visitor("ann")).status_code == 303, kid
                assert client.get("/").status_code == 200
                client.post("/logout")
    assert len(_logins(service)) == 3


def test_a_session_ends_with_its_key_and_by_logging_out_though_the_provider_knows_the_person(
    service: Serving,
) -> None:
    visitor = Visitor("ann")
    with service.client() as client:
        _log_in(client, visitor)
        assert client.get("/").status_code == 200
        [made] = _logins(service)
        with service.database.begin() as tx:
            keys.revoke(tx, made.id, now=datetime.now(UTC))
        gone = client.get("/")
        assert (gone.status_code, gone.headers["location"].partition("?")[0]) == (303, "/login")
        _log_in(client, visitor)
        assert client.get("/").status_code == 200
        cookie = client.cookies["driftline_session"]
        assert client.post("/logout").status_code == 303
        client.cookies.set("driftline_session", cookie)
        assert client.get("/").status_code == 303
    assert visitor.filled == ["login", "consent"], "its own session goes on"
    assert all(one.revoked_at for one in _logins(service))


def test_somebody_who_turns_back_at_the_provider_is_told_so(service: Serving) -> None:
    with service.client() as client, httpx2.Client(trust_env=False) as browser:
        away = client.get("/login/begin").headers["location"]
        form = browser.get(away, follow_redirects=True)
        asked = browser.get(f"{form.url}/abort")
        while not asked.headers["location"].startswith(service.url):
            asked = browser.get(str(asked.url.join(asked.headers["location"])))
        answer = _came_back(client, asked.headers["location"])
    assert (answer.status_code, "The provider did not log you in" in answer.text) == (403, True)


def test_a_person_fills_in_the_providers_forms_in_a_browser(
    service: Serving, look: Callable[..., Looker]
) -> None:
    looker = look()
    page = looker.page
    page.route("https://fonts.googleapis.com/**", lambda route: route.fulfill(status=204))
    page.goto(f"{service.url}/login")
    looker.click("text=Log in with your organisation")
    page.fill("[name=login]", "ann")
    page.fill("[name=password]", "x")
    looker.click("[type=submit]")
    looker.click("text=Continue")
    page.wait_for_url(f"{service.url}/")
    assert "cards" in page.inner_text("main")
    assert looker.complaints == []
