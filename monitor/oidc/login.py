"""Log people in by an OpenID Connect provider: the code flow, with PKCE.

The provider says who somebody is and in which groups; the config says what each group may. A login
makes a key for this session (without a secret that anybody knows), so that it is listed, revoked,
audited and bound to a team's adapters as every key is.
"""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore, Lock
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from alerts.outgoing import OutgoingClient, OutgoingError, Reply
from monitor.oidc.settings import OidcGroup, OidcSettings

PATIENCE: Final = timedelta(minutes=10)
"""How long somebody may take at the provider."""
FRESH: Final = timedelta(hours=1)
"""How long what a provider says of itself is believed."""
SKEW: Final = timedelta(minutes=1)
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "EdDSA", "Ed25519",  # one signature by its older and newer name (RFC 9864)
)  # fmt: skip
"""Signatures by a private key: a shared secret could sign whatever its holders like."""
LONGEST_NAME: Final = 128
LONGEST_SUBJECT: Final = 255
AT_ONCE: Final = 4
"""Logins that ask the provider at a time: it may be slow, and must not take every thread."""
_RESTED: Final = timedelta(seconds=5)
"""How long a provider that could not be asked is left alone."""

_OK: Final = 200
_CLOSED: Final = "The provider does not answer as one: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """A login under way, as the person's browser keeps it, signed, in a cookie."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who logged in.

    ``subject`` is issuer and the provider's name of the person, which no other person gets.
    ``name`` is what people call them, and ``own`` the provider's name alone.
    """

    subject: str
    own: str
    name: str
    group: OidcGroup


class LoginRefused(Exception):  # noqa: N818 - named as the outcome
    """Nobody is logged in; the text says why, without quoting the provider."""


class _Provider(msgspec.Struct, frozen=True):
    """A provider's word about itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Keys(msgspec.Struct):
    keys: list[dict[str, Any]]


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str | None = None


class Oidc:
    """One provider. Thread-safe.

    Parameters
    ----------
    client
        Asks the provider.
    back
        The address of :data:`BACK` as the browser reaches it, which the provider knows.
    clock
        The time by which tokens end.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        client: OutgoingClient,
        back: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self._client = client
        self._back = back
        self._clock = clock
        self._lock = Lock()
        self._busy = BoundedSemaphore(AT_ONCE)
        self._failed: tuple[datetime, str] | None = None
        self._known: tuple[datetime, _Provider] | None = None
        self._keys: tuple[datetime, KeySet] | None = None

    def begin(self) -> tuple[str, Attempted]:
        """Return where to send the browser, and what it has to bring back.

        Raises
        ------
        LoginRefused
            The provider cannot be asked.
        """
        attempted = Attempted(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
        )
        challenge = hashlib.sha256(attempted.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self.settings.scopes),
            "state": attempted.state,
            "nonce": attempted.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        with self._turn():
            place = self._provider().authorization_endpoint
        return f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}", attempted

    def finish(self, query: Mapping[str, str], attempted: Attempted | None) -> Person:
        """Return who came back from the provider.

        Raises
        ------
        LoginRefused
            It was another browser's login, the provider refused it or cannot be asked, its word is
            not to be believed, or none of the person's groups may log in.
        """
        if attempted is None or not secrets.compare_digest(
            query.get("state", "").encode(), attempted.state.encode()
        ):
            raise LoginRefused("This login was not begun in this browser, or took too long.")
        if "error" in query or not query.get("code"):
            raise LoginRefused("The provider did not log you in.")
        with self._turn():
            tokens = self._exchanged(query["code"], attempted)
            claims = self._checked(tokens.id_token, attempted)
            if {self.settings.groups_claim, self.settings.name_claim} - claims.keys():
                claims = self._userinfo(tokens, subject=claims["sub"]) | claims
        return self._person(claims)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise LoginRefused("Too many logins are under way: try again in a moment.")
        try:
            yield
        finally:
            self._busy.release()

    def _person(self, claims: Mapping[str, Any]) -> Person:
        theirs = claims.get(self.settings.groups_claim, ())
        theirs = (theirs,) if isinstance(theirs, str) else theirs
        named = theirs if isinstance(theirs, list | tuple) else ()
        group = next((one for name, one in self.settings.groups.items() if name in named), None)
        if group is None:
            raise LoginRefused("None of your groups may log in here.")
        own: str = claims["sub"]
        name = claims.get(self.settings.name_claim)
        name = "".join(filter(str.isprintable, name)).strip() if isinstance(name, str) else ""
        if self.settings.name_claim == "email" and claims.get("email_verified") is False:
            name = ""  # anybody may say that an address is theirs
        return Person(
            subject=f"{self.settings.issuer} {own}",
            own=own[:LONGEST_NAME],
            name=(name or own)[:LONGEST_NAME],
            group=group,
        )

    def _exchanged(self, code: str, attempted: Attempted) -> _Tokens:
        provider, settings = self._provider(), self.settings
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "client_id": settings.client_id,
            "code_verifier": attempted.verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", **_JSON}
        if settings.client_secret:
            if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
                headers["authorization"] = _basic(settings.client_id, settings.client_secret)
            else:
                body["client_secret"] = settings.client_secret
        answer = self._asked(
            lambda: self._client.post(
                provider.token_endpoint, body=urlencode(body).encode(), headers=headers
            )
        )
        if answer.status != _OK:
            raise LoginRefused(f"{_CLOSED}its tokens came with status {answer.status}.")
        found: _Tokens = _decoded(answer, _Tokens, what="tokens")
        return found

    def _checked(self, token: str, attempted: Attempted) -> dict[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        try:
            claims = self._signed(token)
        except _UNREADABLE as error:
            raise LoginRefused(f"{_CLOSED}its ID token is not signed by it.") from error
        now, own = self._clock(), self.settings.client_id
        wrong = [
            what
            for what, is_wrong in {
                "issuer": claims.get("iss") != self._provider().issuer,
                "audience": claims.get("aud") not in (own, [own]),
                "authorized party": claims.get("azp", own) != own,
                "end": not _number(claims.get("exp")) > (now - SKEW).timestamp(),
                "beginning": not _number(claims.get("iat")) < (now + SKEW).timestamp(),
                "nonce": claims.get("nonce") != attempted.nonce,
                "subject": not _is_subject(claims.get("sub")),
            }.items()
            if is_wrong
        ]
        if wrong:
            raise LoginRefused(f"{_CLOSED}its ID token has a wrong {wrong[0]}.")
        return claims

    def _signed(self, token: str) -> dict[str, Any]:
        """Verify by the known keys; where none fits, by those that the provider has now."""
        try:
            return dict(jwt.decode(token, self._key_set(), algorithms=ALGORITHMS).claims)
        except _UNREADABLE:
            return dict(jwt.decode(token, self._key_set(anew=True), algorithms=ALGORITHMS).claims)

    def _userinfo(self, tokens: _Tokens, *, subject: str) -> dict[str, Any]:
        place = self._provider().userinfo_endpoint
        if place is None or tokens.access_token is None:
            return {}
        headers = {"authorization": f"Bearer {tokens.access_token}", **_JSON}
        answer = self._asked(lambda: self._client.get(place, headers=headers))
        told = _decoded(answer, dict[str, Any], what="user") if answer.status == _OK else {}
        return told if told.get("sub") == subject else {}

    def _provider(self) -> _Provider:
        with self._lock:
            known = self._known
        now = self._clock()
        if known is not None and now - known[0] < FRESH:
            return known[1]
        if self._failed is not None and now - self._failed[0] < _RESTED:
            raise LoginRefused(self._failed[1])
        try:
            found = self._discovered()
        except LoginRefused as why:
            self._failed = (now, str(why))
            raise
        with self._lock:
            self._known = (now, found)
        return found

    def _discovered(self) -> _Provider:
        issuer = self.settings.issuer.rstrip("/")
        answer = self._asked(
            lambda: self._client.get(f"{issuer}/.well-known/openid-configuration", headers=_JSON)
        )
        found: _Provider = _decoded(answer, _Provider, what="configuration")
        if found.issuer.rstrip("/") != issuer:
            raise LoginRefused(f"{_CLOSED}it calls itself by another name than oidc.issuer.")
        places = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        if issuer.startswith("https:") and not all(one.startswith("https:") for one in places):
            raise LoginRefused(f"{_CLOSED}it would be asked without TLS.")
        return found

    def _key_set(self, *, anew: bool = False) -> KeySet:
        with self._lock:
            known = self._keys
        now = self._clock()
        if known is not None and not anew and now - known[0] < FRESH:
            return known[1]
        place = self._provider().jwks_uri
        answer = self._asked(lambda: self._client.get(place, headers=_JSON))
        usable: list[Key] = []
        for one in _decoded(answer, _Keys, what="keys").keys:
            with suppress(JoseError, ValueError, KeyError, TypeError):  # RFC 7517, 5: passed over
                usable.append(JWKRegistry.import_key(one))
        if not usable:
            raise LoginRefused(f"{_CLOSED}its keys cannot be read.")
        found = KeySet(usable)
        with self._lock:
            self._keys = (now, found)
        return found

    def _asked(self, ask: Callable[[], Reply]) -> Reply:
        try:
            return ask()
        except OutgoingError as error:
            raise LoginRefused(f"The provider cannot be asked: {error}.") from error


_UNREADABLE: Final = (
    JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError,
)  # fmt: skip
"""Errors that a library raises at a token that nobody sound has made."""
_JSON: Final[Mapping[str, str]] = {"accept": "application/json"}


def _basic(user: str, password: str) -> str:
    """Write client credentials as RFC 6749, section 2.3.1, asks: escaped, then joined."""
    pair = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _decoded(answer: Reply, kind: Any, *, what: str) -> Any:
    try:
        return msgspec.json.decode(answer.body_start, type=kind)
    except (ValueError, RecursionError) as error:
        raise LoginRefused(f"{_CLOSED}its {what} cannot be read.") from error


def _number(value: object) -> float:
    """Return a claim that is a time; NaN, which compares as false, where it is none."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_SUBJECT and value.isprintable()
