"""The settings of logins by OpenID Connect: the section ``[oidc]`` of the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from monitor.domain import Scope

BACK: Final = "/login/back"
"""Where the provider sends people back to."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcGroup:
    """The rights of a group's people: scopes, and of which adapters (as a key's ``match``)."""

    scopes: tuple[Scope, ...] = (Scope.READ,)
    match: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """The section ``[oidc]``; without ``issuer`` people log in with keys alone.

    ``groups`` are tried in their order: the first one that somebody is in decides.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    name_claim: str = "email"
    groups: dict[str, OidcGroup] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The problems of the settings, each by its key."""
        if not self.issuer:
            return []
        needed = {"client_id": self.client_id, "groups": self.groups}
        found = [f"{name}: is missing" for name, given in needed.items() if not given]
        place = urlsplit(self.issuer)
        if place.scheme != "https" and place.hostname not in _LOOPBACK:
            found.append("issuer: must be an https:// address")
        if "openid" not in self.scopes:
            found.append("scopes: openid must be among them")
        for name, group in self.groups.items():
            if group.match and Scope.ADMIN in group.scopes:
                found.append(f"groups.{name}: admin cannot be bound to adapters")
            if Scope.ASK in group.scopes or Scope.INGEST in group.scopes:
                found.append(f"groups.{name}.scopes: people read, operate or administer")
        return found
