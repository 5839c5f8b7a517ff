"""npm's ``oidc-provider``, certified by the OpenID Foundation, as a process of its own."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from joserfc.jwk import Key

from tests.oidc_provider import CLIENT, SECRET
from tests.tools import skip_unless

INSTALLED: Final = Path(__file__).parents[2] / ".npm-oidc"
"""Where ``make oidc-provider`` puts it."""
PROGRAM: Final = Path(__file__).with_name("login_provider") / "provider.mjs"
PEOPLE: Final[Mapping[str, Mapping[str, Any]]] = {
    name: {"email": f"{name}@example.com", "email_verified": True, "groups": groups}
    for name, groups in {
        "ann": ["staff", "payments-oncall"],
        "bob": ["staff"],
        "eve": ["guests"],
        "mia": ["ml-platform"],
    }.items()
}


@contextmanager
def certified(
    back: str, *, port: int, key: Key, algorithm: str = "RS256", **more: Any
) -> Iterator[str]:
    """Run it until the body ends; gives its address. People are sent back to ``back``."""
    there = shutil.which("node") and (INSTALLED / ".ready").exists()
    skip_unless(there, "`make oidc-provider` installs it; it needs npm")
    client = {
        "client_secret": SECRET,
        "redirect_uris": [back],
        "id_token_signed_response_alg": algorithm,
        "token_endpoint_auth_method": more.pop("method", "client_secret_basic"),
    }
    told = {
        "installed": str(INSTALLED),
        "port": port,
        "people": PEOPLE,
        "clients": [client | {"client_id": name} for name in (CLIENT, "other")],
        "jwks": {"keys": [key.as_dict(private=True)]},
        **more,
    }
    with subprocess.Popen(
        ["node", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as words:
            json.dump(told, words)
        try:
            issuer = process.stdout.readline().strip()
            assert issuer == f"http://127.0.0.1:{port}", "node says above why it did not start"
            yield issuer
        finally:
            process.terminate()


class Visitor:
    """A person's browser at the provider: it keeps cookies, and fills in the forms of its pages."""

    def __init__(self, person: str) -> None:
        self.person = person
        self.filled: list[str] = []
        """The forms that it filled in."""
        self._cookies = httpx2.Cookies()

    def go(self, place: str, *, until: str) -> str:
        """Follow the provider from there; return the first address that begins with ``until``."""
        with httpx2.Client(cookies=self._cookies, trust_env=False, timeout=30) as browser:
            for _ in range(20):
                if place.startswith(until):
                    self._cookies = browser.cookies
                    return place
                answer = browser.get(place)
                while answer.status_code == 200:
                    answer = self._sent(browser, answer)
                assert answer.is_redirect, answer.text
                place = str(answer.url.join(answer.headers["location"]))
        raise AssertionError(f"the provider goes round in circles: {place}")

    def _sent(self, browser: httpx2.Client, page: httpx2.Response) -> httpx2.Response:
        form = "login" if 'value="login"' in page.text else "consent"
        self.filled.append(form)
        action = page.text.partition('action="')[2].partition('"')[0]
        fields = {"prompt": form, "login": self.person, "password": "x"}
        return browser.post(str(page.url.join(action)), data=fields)


def changed(place: str, **fields: str | None) -> str:
    """Return an address with other fields in its query; None takes one away."""
    query = dict(parse_qsl(urlsplit(place).query)) | fields
    kept = {name: one for name, one in query.items() if one is not None}
    return urlsplit(place)._replace(query=urlencode(kept)).geturl()
