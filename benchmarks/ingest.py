"""Records from an HTTP body to a durable row: ours, the usual service, and the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from benchmarks import ingest_peers, ingest_traffic
from benchmarks.asgi import Application, answer, post_all, read_body
from benchmarks.row import Figure, Row, at_least, at_most
from benchmarks.server import postgres
from benchmarks.timing import interleaved
from monitor.capture.intake import Intake, Settings
from monitor.store.database import Database
from monitor.store.registry import adapters, versions

SENDERS: Final = 16
BODIES: Final = 40
ROUNDS: Final = 5
TIMES_BARE: Final = 2.0
"""What checks, idempotence, 30 columns and counts may cost, beside the bare functions."""
TIMES_KEYS: Final = 1.5
"""What 30 statistics may cost, beside the key by which a record is known."""
_SEEDS: Final = iter(range(1_000_000))

Bodies = Callable[[], list[bytes]]


def run() -> Sequence[Row]:
    """Race the three on records with and without log-probabilities, then weigh the tables."""
    with postgres() as database, _ours(database) as ours, asyncio.Runner() as runner:
        others: dict[str, Any] = {
            "peer": ingest_peers.peer(database.engine),
            "limit": ingest_peers.limit(_plain_url(database)),
        }
        measuring = ingest_peers.limit(_plain_url(database), measure=ingest_peers.bare_signals)
        plain = _rates(
            runner,
            {"ours": ours, **others, "measuring": measuring},
            dict.fromkeys(("ours", "peer", "limit", "measuring"), "none"),
        )
        statistics = _bytes_per_record(database, "records")
        keys = _keys_alone(database)
        _empty(database)
        packed = _rates(
            runner,
            {"ours": ours, "ours json": ours, **others},
            {"ours": "packed", "ours json": "json", "peer": "json", "limit": "packed"},
        )
        size = _bytes_per_record(database, "records") + _bytes_per_record(database, "record_tokens")
        peer_size = _bytes_per_record(database, "peer_records")
        limit_size = _bytes_per_record(database, "limit_records")
    return [
        _plain_row(plain),
        _packed_row(packed),
        _arrays_row(size, peer_size, limit_size),
        _statistics_row(statistics, keys),
    ]


def _plain_row(rate: Mapping[str, float]) -> Row:
    return Row(
        number=8,
        metric="ingest of 1 KB records, 100 a request, durable",
        ours=_rate("checked, measured, idempotent", rate["ours"]),
        goals=(
            at_most(
                f"{TIMES_BARE:g} × the limit",
                value=rate["measuring"] / rate["ours"],
                ceiling=TIMES_BARE,
                unit="×",
            ),
        ),
        peers=(
            _rate("FastAPI + pydantic + ORM, nothing measured", rate["peer"]),
            _rate("msgspec + COPY, nothing checked or measured", rate["limit"]),
        ),
        limit=_rate("msgspec + COPY + zlib, RE2 and 4-grams, bare", rate["measuring"]),
        note=f"{SENDERS} senders over ASGI in this process. PostgreSQL's own time is not in it.",
    )


def _packed_row(rate: Mapping[str, float]) -> Row:
    return Row(
        number=9,
        metric="ingest with 200 × top-5 log-probabilities",
        ours=_rate("packed float16", rate["ours"]),
        goals=(at_least("5 × the peer", value=rate["ours"] / rate["peer"], floor=5, unit="×"),),
        peers=(
            _rate("JSON lists, pydantic, JSONB", rate["peer"]),
            _rate("ours from JSON lists", rate["ours json"]),
        ),
        limit=_rate("base64 + COPY", rate["limit"]),
    )


def _arrays_row(size: float, peer: float, limit: float) -> Row:
    return Row(
        number=10,
        metric="bytes per record of 200 tokens, indexes included, arrays asked for",
        ours=_weight("statistics and three float16 arrays", size),
        goals=(at_most("3,600 B", value=size, ceiling=3_600, unit="B"),),
        peers=(_weight("JSONB", peer),),
        limit=_weight("three float16 arrays by COPY, no index", limit),
    )


def _statistics_row(size: float, keys: float) -> Row:
    return Row(
        number=10,
        metric="bytes per record as stored by default: statistics only",
        ours=_weight("33 columns and their index", size),
        goals=(
            at_most(f"{TIMES_KEYS:g} × the limit", value=size / keys, ceiling=TIMES_KEYS, unit="×"),
        ),
        limit=_weight("adapter, time and id with their index", keys),
        note="ids of 32 characters. The index is what keeps a record that is sent again from"
        " being stored twice.",
    )


def _weight(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="B/record")


@contextmanager
def _ours(database: Database) -> Iterator[Application]:
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v1", model="support@v1")
    settings = Settings(
        target_per_day=10**9, embed_prompts=False, tokens_retention=timedelta(days=14)
    )
    intake = Intake(database, subject_key=b"k" * 32, settings=settings)
    intake.start()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        outcome = await asyncio.to_thread(intake.records, body, content_type="application/json")
        await answer(send, 202 if outcome.accepted == ingest_traffic.RECORDS else 500)

    yield application
    intake.close()


def _rates(
    runner: asyncio.Runner, applications: Mapping[str, Application], kinds: Mapping[str, str]
) -> dict[str, float]:
    """Records per CPU second of this process, median of rounds taken in turns."""
    fresh = {name: _supply(kind) for name, kind in kinds.items()}
    cases = {
        name: partial(_post, runner, application, fresh[name])
        for name, application in applications.items()
    }
    seconds = interleaved(cases, rounds=ROUNDS)
    return {name: BODIES * ingest_traffic.RECORDS / spent for name, spent in seconds.items()}


def _post(runner: asyncio.Runner, application: Application, supply: Iterator[list[bytes]]) -> None:
    runner.run(post_all(application, next(supply), at_once=SENDERS))


def _supply(kind: str) -> Iterator[list[bytes]]:
    """Bodies for each round, made beforehand: making them is not what is timed."""
    made = [
        ingest_traffic.bodies(BODIES, logprobs=kind, seed=next(_SEEDS)) for _ in range(ROUNDS + 1)
    ]
    return iter(made)


def _bytes_per_record(database: Database, table: str) -> float:
    query = sa.text(
        "SELECT pg_total_relation_size(CAST(:t AS regclass))"
        " + coalesce(sum(pg_total_relation_size(relid)) FILTER (WHERE isleaf AND level > 0), 0)"
        " FROM pg_partition_tree(CAST(:t AS regclass))"
    )
    with database.begin() as tx:
        total = tx.execute(query, {"t": table}).scalar_one()
        rows = tx.execute(
            sa.text(f"SELECT count(*) FROM {table}{_WITH_TOKENS.get(table, '')}")
        ).scalar_one()
    return float(total) / int(rows)


def _keys_alone(database: Database) -> float:
    """Return the bytes of a record's key with its index, inserted in the order of arrival."""
    with database.begin() as tx:
        tx.execute(
            sa.text(
                'CREATE TABLE record_keys (at timestamptz, adapter_id int4, id text COLLATE "C",'
                " PRIMARY KEY (adapter_id, at, id))"
            )
        )
        tx.execute(
            sa.text(
                "INSERT INTO record_keys SELECT at, adapter_id, id FROM records"
                " ORDER BY received_at, at"
            )
        )
    return _bytes_per_record(database, "record_keys")


_WITH_TOKENS: Final = {"peer_records": " WHERE top_logprobs IS NOT NULL"}


def _empty(database: Database) -> None:
    tables = "records, record_tokens, peer_records, limit_records"
    with database.begin() as tx:
        tx.execute(sa.text(f"TRUNCATE {tables}"))


def _plain_url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def _rate(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="records/CPU-s")
