"""The address of a server, and conversations with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

from alerts.outgoing import OutgoingClient, OutgoingError
from monitor.redis.protocol import Conversation, Nonsense, ServerRefused

T = TypeVar("T")

PORT: Final = 6379
_SCHEMES: Final = ("redis", "rediss")


class RedisFailed(Exception):  # noqa: N818 (named as the outcome)
    """Nothing came of a conversation; ``code`` is the server's word, if it refused."""

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisPlace:
    """Address of a Redis server, with the number of a database in it."""

    host: str
    port: int
    number: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' * self.tls}://{host}:{self.port}"


def place(url: str) -> RedisPlace:
    """Read an address.

    >>> str(place("redis://10.0.0.5/2")), place("redis://10.0.0.5/2").number
    ('redis://10.0.0.5:6379', 2)

    Raises
    ------
    ValueError
        The text is no such address; the message does not quote it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
    except ValueError:
        raise ValueError("expected an address such as redis://10.0.0.5:6379/0") from None
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected an address such as redis://10.0.0.5:6379/0")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries credentials; give username and password_env instead")
    number = parts.path.strip("/") or "0"
    if not (number.isascii() and number.isdigit()):
        raise ValueError("the part after the host must be the number of a database")
    return RedisPlace(
        host=parts.hostname, port=port, number=int(number), tls=parts.scheme == "rediss"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """One server; without a password nobody logs in, and an empty username is the default user.

    ``timeout`` is that of a whole conversation.
    """

    place: RedisPlace
    client: OutgoingClient
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: timedelta = timedelta(seconds=5)

    def talk(self, say: Callable[[Conversation], T]) -> T:
        """Hold a conversation; raises RedisFailed."""
        where = self.place
        try:
            with self.client.connection(
                where.host, where.port, tls=where.tls, timeout=self.timeout.total_seconds()
            ) as stream:
                server = Conversation(stream)
                if self.password:
                    names = (self.username,) if self.username else ()
                    server.ask("AUTH", *names, self.password)
                if where.number:
                    server.ask("SELECT", where.number)
                return say(server)
        except OutgoingError as error:
            raise RedisFailed(f"{where}: {error}") from None
        except ServerRefused as refused:
            raise RedisFailed(f"{where} refused: {refused.code}", code=refused.code) from None
        except Nonsense:
            raise RedisFailed(f"{where} does not answer as Redis does") from None
