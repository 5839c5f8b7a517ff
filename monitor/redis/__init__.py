"""Redis or Valkey, past the guard of outgoing requests: one server, a few commands."""

from monitor.redis.protocol import LARGEST, Conversation, Nonsense, ServerRefused
from monitor.redis.server import RedisFailed, RedisPlace, RedisServer, place

__all__ = [
    "LARGEST",
    "Conversation",
    "Nonsense",
    "RedisFailed",
    "RedisPlace",
    "RedisServer",
    "ServerRefused",
    "place",
]
