from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitor.domain import Adapter, Version
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import FeedbackRow, RecordBatch, TextRow, TokenRow
from monitor.store.registry import adapters, versions

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
GREEDY = Context("push", "", "", "", "temperature=0")


@dataclass(frozen=True)
class Registered:
    adapter: Adapter
    version: Version


@pytest.fixture
def noon(database: Database) -> datetime:
    """Noon of a day whose partitions, and those of the days around it, exist."""
    days = [NOON.date() + timedelta(days=offset) for offset in range(-3, 2)]
    database.run(lambda tx: partitions.ensure(tx, days))
    return NOON


@pytest.fixture
def register(database: Database) -> Callable[[str], Registered]:
    def make(name: str) -> Registered:
        with database.begin() as tx:
            adapter = adapters.put(tx, name=name)
            version = versions.put(tx, adapter=adapter, name="v1", model=f"{name}@v1")
        return Registered(adapter, version)

    return make


@pytest.fixture
def support(register: Callable[[str], Registered]) -> Registered:
    return register("support")


MakeBatch = Callable[..., RecordBatch]


@pytest.fixture
def batch(database: Database) -> MakeBatch:
    """Build columns for ``ids`` at the given times; numbers left out are NULL."""

    def make(
        of: Registered,
        ids: Sequence[str],
        at: datetime | Sequence[datetime],
        *,
        context: Context = GREEDY,
        numbers: Mapping[str, Sequence[float]] | None = None,
        subject: Sequence[bytes | None] | None = None,
        tokens: Sequence[TokenRow] = (),
        texts: Sequence[TextRow] = (),
        feedback: Sequence[FeedbackRow] = (),
    ) -> RecordBatch:
        times = [at] * len(ids) if isinstance(at, datetime) else at
        context_id = database.run(lambda tx: contexts.intern(tx, [context])[context])
        full = {name: np.full(len(ids), np.nan) for name in ingest.NUMBERS}
        full |= {
            "version_id": np.full(len(ids), float(of.version.id)),
            "context_id": np.full(len(ids), float(context_id)),
            "sample_prob": np.ones(len(ids)),
        }
        full |= {name: np.array(values, dtype=float) for name, values in (numbers or {}).items()}
        return RecordBatch(
            adapter_id=np.full(len(ids), of.adapter.id, dtype=np.int64),
            at=np.array([ingest.microseconds(time) for time in times]),
            id=list(ids),
            numbers=full,
            finish_reason=["stop"] * len(ids),
            subject=subject or [None] * len(ids),
            tokens=tokens,
            texts=texts,
            feedback=feedback,
        )

    return make
