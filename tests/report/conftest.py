"""A version with a reference and live records of its token statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.types import Window
from monitor.domain import Interval, Version
from monitor.reference import kept
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import RecordBatch
from monitor.store.references import calibrations, reference_baselines, references
from monitor.store.references.calibrations import Calibration
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import adapters, versions

STRATUM = Context("push", "", "", "", "temperature=0")
OTHER_STRATUM = Context("push", "", "", "", "temperature=1")
SIGNALS = ("mean_nll", "p95_nll", "near_certain", "entropy")
END = datetime.now(tz=UTC).replace(microsecond=0)
SPAN = Interval(start=END - timedelta(hours=2), end=END)


def columns(rng: np.random.Generator, n: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Four signals of sd 1; ``shift`` moves the first."""
    drawn = {name: rng.normal(5.0, 1.0, n) for name in SIGNALS}
    return drawn | {"mean_nll": drawn["mean_nll"] + shift}


@dataclass
class Watched:
    database: Database
    version: Version

    def freeze(self, n: int = 1_500) -> None:
        """Put a reference in force, as its builder does after embedding."""
        rng = np.random.default_rng(1)
        at = np.sort(END.timestamp() - rng.uniform(0, 15 * 86_400, n))
        window = Window(start=at[0], end=END.timestamp(), at=at, signals=columns(rng, n))
        bodies = {
            name: Calibration(body=DETECTORS[name].dump(DETECTORS[name].fit(window)))
            for name in ("logit_ks", "entropy")
        }

        def work(tx: Connection) -> None:
            references.create(
                tx, version_id=self.version.id, source=ReferenceSource.UPLOAD,
                cause="test", created_by="test", request={},
            )  # fmt: skip
            claim = references.claim_building(tx)
            assert claim is not None
            calibrations.insert(tx, claim.reference_id, calibrations=bodies, bins={})
            outcome = references.BuiltReference(
                n_training=0, n_baseline=n, span_days=15.0, encoder=None,
                strata=[STRATUM.stratum], hourly_rate=4.0, approved_by="coverage",
            )  # fmt: skip
            references.ready(tx, claim, outcome)

        self.database.run(work)

    def keep(self, n: int = 400) -> None:
        """Keep the baseline's records, with their rates, and the texts of both sides."""
        rng = np.random.default_rng(3)
        # they were made an hour before the span
        first = SPAN.start.timestamp() - 3_600
        at = first + np.sort(rng.uniform(0, 3_000, n))
        rates = {name: (rng.random(n) < 0.1).astype(float) for name in ("loop", "refusal")}
        window = Window(start=at[0], end=at[-1] + 1, at=at, signals=columns(rng, n) | rates)

        def work(tx: Connection) -> None:
            current = references.current(tx, self.version.id)
            assert current is not None
            tx.execute(
                sa.text("UPDATE \"references\" SET source = 'freeze' WHERE id = :id"),
                {"id": current.id},
            )
            reference_baselines.insert(
                tx, current.id, version_id=self.version.id, body=kept.pack(window)
            )

        self.database.run(work)
        self.record(60, context=STRATUM, since=SPAN.start - timedelta(minutes=50))
        self.database.run(
            lambda tx: tx.execute(
                sa.text(
                    "INSERT INTO record_texts (adapter_id, at, id, prompt, output)"
                    " SELECT adapter_id, at, id, 'never in a report. ' || repeat(id, 3),"
                    " repeat('so. ', length(id)) FROM records ON CONFLICT DO NOTHING"
                )
            )
        )

    def record(
        self,
        n: int = 600,
        *,
        shift: float = 0.0,
        context: Context = STRATUM,
        without: tuple[str, ...] = (),
        since: datetime | None = None,
    ) -> None:
        """Store live records spread over the span, or from another time on, one a minute."""
        rng = np.random.default_rng(2)
        step = (SPAN.end - SPAN.start) / n if since is None else timedelta(minutes=0.5)
        times = [(since or SPAN.start) + step * i for i in range(n)]
        context_id = self.database.run(lambda tx: contexts.intern(tx, [context])[context])
        numbers = {name: np.full(n, np.nan) for name in ingest.NUMBERS}
        numbers |= {
            "version_id": np.full(n, float(self.version.id)),
            "context_id": np.full(n, float(context_id)),
            "sample_prob": np.ones(n),
        }
        measured = columns(rng, n, shift)
        numbers |= {name: measured[name] for name in SIGNALS if name not in without}
        if not without:
            numbers |= {name: (rng.random(n) < 0.1).astype(float) for name in ("loop", "refusal")}
        batch = RecordBatch(
            adapter_id=np.full(n, self.version.adapter_id, dtype=np.int64),
            at=np.array([ingest.microseconds(at) for at in times]),
            id=[f"{context.stratum}-{since or ''}{i}" for i in range(n)],
            numbers=numbers,
            finish_reason=["stop"] * n,
            subject=[None] * n,
        )
        self.database.run(lambda tx: ingest.insert(tx, batch))


@pytest.fixture
def watched(database: Database) -> Watched:
    def register(tx: Connection) -> Version:
        days = [(END - timedelta(days=back)).date() for back in range(3)]
        partitions.ensure(tx, days)
        adapter = adapters.put(tx, name="support")
        return versions.put(tx, adapter=adapter, name="v7", model="support@v7")

    return Watched(database=database, version=database.run(register))


@pytest.fixture
def frozen(watched: Watched) -> Callable[..., Watched]:
    """A version with a reference and, in its settings, live records."""

    def make(**records: Any) -> Watched:
        watched.freeze()
        watched.record(**records)
        return watched

    return make
