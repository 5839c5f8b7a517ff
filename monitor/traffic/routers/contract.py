"""The promises of every router, and the clients and addresses that a router is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from alerts.outgoing import OutgoingClient
from monitor.domain import Arm, Route, Version
from monitor.probes.asking import local_folder


class RouterFailed(Exception):  # noqa: N818 (named as the outcome it reports)
    """The router could not be told, or its answer could not be read.

    The message names hosts at most, never a path, a secret or the text of a foreign answer.
    """


class Router(Protocol):
    """Carries routes out.

    Laws, checked for every entry of ``ROUTERS``: ``apply`` states the wanted end, so it may
    be repeated. A route of an older edition than one already applied changes nothing, and
    one of a newer epoch replaces the route that is there, whatever its generation.
    ``read_back`` returns the arms really in force, asked anew each time; None where the
    router knows no such adapter. Each method raises :class:`RouterFailed` and no other
    error.
    """

    def prepare(self, versions: Sequence[Version]) -> None:
        """Make versions ready to answer, before a route that names them is written."""
        ...

    def apply(self, route: Route) -> None: ...

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The clients and addresses with which routers reach other machines.

    outside
        Client permitted what ``[outgoing]`` permits.
    inside
        Client permitted private networks too: engines, gateways and stores that the config
        names.
    engines, engine_headers
        Replicas that serve the adapters, and the headers of each request to them.
    gateway
        Address of the gateway that ``[gateway]`` describes.
    gateway_key
        Returns the key that it asks for; empty if none is known, or none is needed.
    files
        Returns the folder of a version's files, fetched if need be; None if they are elsewhere.
    at_hand
        Returns that folder, and fetches nothing.
    """

    outside: OutgoingClient = field(default_factory=OutgoingClient)
    inside: OutgoingClient = field(default_factory=OutgoingClient)
    engines: tuple[str, ...] = ()
    engine_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    gateway: str = ""
    gateway_key: Callable[[], str] = str
    files: Callable[[Version], Path | None] = lambda version: local_folder(version.uri or "")
    at_hand: Callable[[Version], Path | None] = lambda version: local_folder(version.uri or "")
