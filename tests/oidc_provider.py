"""An OpenID Connect provider that a test can bend: it checks PKCE, and signs what it is told to."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "driftline"
SECRET = "a secret: with / signs"  # noqa: S105 (of no real client)


@dataclass
class BendableProvider:
    """Logs in ``claims`` at once; ``bent`` replaces claims of the ID token, None removes one."""

    claims: Mapping[str, Any]
    bent: Mapping[str, Any] = field(default_factory=dict)
    userinfo: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ("client_secret_basic",)
    issuer: str = ""
    algorithm: str = "RS256"
    status: int = 200
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    shown: RSAKey | None = None
    """The key that it shows, if another one than it signs with."""
    asked: list[Mapping[str, str]] = field(default_factory=list)
    codes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/me", self._me),
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        here = str(request.base_url).rstrip("/")
        return JSONResponse(
            {
                "issuer": self.issuer or here,
                "authorization_endpoint": f"{here}/authorize?tenant=1",
                "token_endpoint": f"{here}/token",
                "jwks_uri": f"{here}/keys",
                "userinfo_endpoint": f"{here}/me",
                "token_endpoint_auth_methods_supported": list(self.methods),
            }
        )

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [(self.shown or self.key).as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.asked.append(query)
        code = secrets.token_hex(8)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return RedirectResponse(f"{query['redirect_uri']}?{back}", status_code=302)

    async def _token(self, request: Request) -> Response:
        form = {name: one[0] for name, one in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.pop(form["code"], None)
        verified = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verified).rstrip(b"=").decode()
        fits = asked is not None and (challenge, form["redirect_uri"]) == (
            asked["code_challenge"],
            asked["redirect_uri"],
        )
        if not fits or not self._knows(request, form) or self.status != 200:
            return JSONResponse({"error": "invalid_grant"}, status_code=max(self.status, 400))
        assert asked is not None
        here, now = str(request.base_url).rstrip("/"), int(time.time())
        claims = {
            "iss": here,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
            **self.bent,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(
            {"alg": self.algorithm, "kid": self.key.kid},
            kept,
            self.key,
            algorithms=[self.algorithm],
        )
        return JSONResponse({"id_token": token, "access_token": "at", "token_type": "Bearer"})

    def _knows(self, request: Request, form: Mapping[str, str]) -> bool:
        if "client_secret_post" in self.methods:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode() == "driftline:a%20secret%3A%20with%20%2F%20signs"

    async def _me(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return Response(json.dumps(dict(self.userinfo)), media_type="application/json")
