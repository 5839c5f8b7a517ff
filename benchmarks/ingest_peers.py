"""Two other ways to take the same records: the usual one, and one that does next to nothing.

The peer is what a service of this kind commonly is: FastAPI, a pydantic model per record,
an ORM object per row, one commit per request, log-probabilities as JSON. The limit decodes
with msgspec and copies: no checks, no signals, no idempotence. It can also measure each answer
by the C functions that we measure it by, called bare.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from fastapi import FastAPI
from msgspec import Struct
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.asgi import Application, answer, read_body
from monitor.capture.refusal import refuses


class _Base(DeclarativeBase):
    pass


class PeerRow(_Base):
    """A record as an ORM row."""

    __tablename__ = "peer_records"

    adapter: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str | None]
    source: Mapped[str | None]
    replica: Mapped[str | None]
    engine: Mapped[str | None]
    temperature: Mapped[float | None]
    max_tokens: Mapped[int | None]
    prompt_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    latency_ms: Mapped[float | None]
    finish_reason: Mapped[str | None]
    status: Mapped[int | None]
    token_logprobs: Mapped[Any | None] = mapped_column(JSONB)
    top_logprobs: Mapped[Any | None] = mapped_column(JSONB)


class _PeerRecord(BaseModel):
    id: str
    adapter: str
    at: datetime
    version: str | None = None
    source: str | None = None
    replica: str | None = None
    engine: str | None = None
    prompt: str | None = None
    output: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    finish_reason: str | None = None
    status: int | None = None
    token_logprobs: list[float] | None = None
    top_logprobs: list[list[float]] | None = None


class _PeerBody(BaseModel):
    records: list[_PeerRecord]


def peer(engine: Engine) -> FastAPI:
    """Build the usual service over its own table."""
    _Base.metadata.create_all(engine)
    app = FastAPI()

    @app.post("/v1/records")
    def take(body: _PeerBody) -> dict[str, int]:
        with Session(engine) as session, session.begin():
            session.add_all(
                PeerRow(**record.model_dump(exclude={"prompt", "output"}))
                for record in body.records
            )
        return {"accepted": len(body.records)}

    return app


class _LimitRecord(Struct):
    id: str
    adapter: str
    at: datetime
    output: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    status: int | None = None
    token_logprobs_f16: msgspec.Raw = msgspec.Raw()
    token_entropy_f16: msgspec.Raw = msgspec.Raw()
    token_margin_f16: msgspec.Raw = msgspec.Raw()


class _LimitBody(Struct):
    records: list[_LimitRecord]


_TABLE = """
    CREATE TABLE IF NOT EXISTS limit_records (
        id text, adapter text, at timestamptz, prompt_tokens integer, output_tokens integer,
        latency_ms double precision, status integer, nll bytea, entropy bytea, margin bytea)
"""
_COPY = "COPY limit_records FROM STDIN (FORMAT BINARY)"
_TYPES = ("text", "text", "timestamptz", "int4", "int4", "float8", "int4", *["bytea"] * 3)


def limit(url: str, *, measure: Callable[[str], object] = lambda _: None) -> Application:
    """Build the service that cannot be beaten: decode, measure each answer, and copy."""
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(_TABLE)
    decoder = msgspec.json.Decoder(_LimitBody)

    def store(body: bytes) -> None:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for record in decoder.decode(body).records:
                measure(record.output)
                copy.write_row(_values(record))

    lock = asyncio.Lock()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        async with lock:
            await asyncio.to_thread(store, body)
        await answer(send, 202)

    return application


def bare_signals(answer: str) -> tuple[int, int, bool]:
    """Compress an answer, count its 4-grams and look for a refusal, as cheaply as C does it."""
    deflate = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    compressed = len(deflate.compress(answer.encode())) + len(deflate.flush())
    words = answer.split()
    grams = set(zip(words, words[1:], words[2:], words[3:], strict=False))
    return compressed, len(grams), refuses(answer)


def _values(record: _LimitRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.adapter,
        record.at,
        record.prompt_tokens,
        record.output_tokens,
        record.latency_ms,
        record.status,
        _bytes(record.token_logprobs_f16),
        _bytes(record.token_entropy_f16),
        _bytes(record.token_margin_f16),
    )


def _bytes(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return base64.b64decode(text[1:-1]) if text else None
