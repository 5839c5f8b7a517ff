"""A key for each adapter in Redis or Valkey, and a message on a channel at each change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from alerts.outgoing import OutgoingClient
from monitor.domain import Arm, Edition, Route, Version
from monitor.redis import Conversation, RedisFailed, RedisServer, place
from monitor.traffic.routers import document
from monitor.traffic.routers.contract import Reach, RouterFailed

T = TypeVar("T")

SCRIPT: Final = """
local held = redis.call('GET', KEYS[1])
if held then
  local ok, route = pcall(cjson.decode, held)
  local generation = ok and type(route) == 'table' and tonumber(route['generation'])
  if generation then
    local epoch, ours = tonumber(route['epoch']) or 0, tonumber(ARGV[2])
    if epoch > ours or (epoch == ours and generation > tonumber(ARGV[3])) then
      return held
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 0
"""
"""Sets the key unless it holds a newer edition, which the script then returns; atomic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRouting:
    """Keys of ``[routing.redis]``.

    url
        ``redis://host:6379/0``, or ``rediss://`` for TLS; no credentials in it.
    username, password
        Both empty: no log-in. An empty username is the default user.
    prefix
        The key of an adapter is this and its name.
    channel
        Gets the adapter's name after each change.
    timeout
        For the whole exchange.
    """

    url: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    prefix: str = "routes:"
    channel: str = "routes"
    timeout: timedelta = timedelta(seconds=5)


def problems(settings: RedisRouting, reach: Reach) -> list[str]:
    """Say what is wrong with the settings, each with its key."""
    del reach
    found = []
    try:
        place(settings.url)
    except ValueError as error:
        found.append(f"url: {error}")
    if settings.username and not settings.password:
        found.append("username: needs a password; give it as password_env")
    if not settings.prefix:
        found.append("prefix: must not be empty")
    if settings.timeout <= timedelta():
        found.append("timeout: must be longer than 0")
    return found


class Redis:
    """Sets the route with one script, so that no older route replaces a newer one."""

    def __init__(self, settings: RedisRouting, client: OutgoingClient) -> None:
        self._settings = settings
        self._place = place(settings.url)
        self._server = RedisServer(
            place=self._place,
            client=client,
            username=settings.username,
            password=settings.password,
            timeout=settings.timeout,
        )

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        held = self._talk(
            lambda server: server.ask(
                "EVAL",
                SCRIPT,
                1,
                self._key(route.adapter),
                document.write(route),
                route.epoch,
                route.generation,
                self._settings.channel,
                route.adapter,
            )
        )
        if held == 0:
            return
        edition, _ = self._read(held, route.adapter)
        raise RouterFailed(
            f"{self._place} holds generation {edition.generation} of {route.adapter} of epoch"
            f" {edition.epoch}, newer than {route.generation} of {route.epoch}: nothing was"
            " changed there"
        )

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        held = self._talk(lambda server: server.ask("GET", self._key(adapter)))
        return None if held is None else self._read(held, adapter)[1]

    def _read(self, held: object, adapter: str) -> tuple[Edition, tuple[Arm, ...]]:
        if not isinstance(held, bytes):
            raise RouterFailed(f"{self._place} does not answer as Redis does")
        try:
            return document.read(held, adapter)
        except document.NotARoute as error:
            raise RouterFailed(f"{self._place}: {error}") from None

    def _key(self, adapter: str) -> str:
        return f"{self._settings.prefix}{adapter}"

    def _talk(self, say: Callable[[Conversation], T]) -> T:
        try:
            return self._server.talk(say)
        except RedisFailed as failed:
            raise RouterFailed(f"{failed}{_hint(failed.code)}") from None


def _hint(code: str) -> str:
    hints = {
        "NOAUTH": " (set routing.redis.password_env)",
        "WRONGPASS": " (the password or the user is another one)",
        "NOPERM": " (the user needs eval, get, set, publish on the prefix and the channel)",
        "READONLY": " (it is a replica)",
        "MOVED": " (it is a cluster; give a server without one)",
        "WRONGTYPE": " (the key holds something that is no string)",
    }
    return hints.get(code, "")
