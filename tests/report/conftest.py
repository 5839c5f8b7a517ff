"""A version with a reference and live records of its token statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.types import Window
from monitor.domain import Version
from monitor.report import ReportSpan
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import contexts, ingest
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import RecordBatch
from monitor.store.references import calibrations, references
from monitor.store.references.calibrations import Calibration
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import adapters, versions

STRATUM = Context("push", "", "", "", "temperature=0")
OTHER_STRATUM = Context("push", "", "", "", "temperature=1")
SIGNALS = ("mean_nll", "p95_nll", "near_certain", "entropy")
END = datetime.now(tz=UTC).replace(microsecond=0)
SPAN = ReportSpan(start=END - timedelta(hours=2), end=END)


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

    def record(
        self,
        n: int = 600,
        *,
        shift: float = 0.0,
        context: Context = STRATUM,
        without: tuple[str, ...] = (),
    ) -> None:
        """Store live records spread over the span."""
        rng = np.random.default_rng(2)
        times = [SPAN.start + (SPAN.end - SPAN.start) * (i / n) for i in range(n)]
        context_id = self.database.run(lambda tx: contexts.intern(tx, [context])[context])
        numbers = {name: np.full(n, np.nan) for name in ingest.NUMBERS}
        numbers |= {
            "version_id": np.full(n, float(self.version.id)),
            "context_id": np.full(n, float(context_id)),
            "sample_prob": np.ones(n),
        }
        measured = columns(rng, n, shift)
        numbers |= {name: measured[name] for name in SIGNALS if name not in without}
        batch = RecordBatch(
            adapter_id=np.full(n, self.version.adapter_id, dtype=np.int64),
            at=np.array([ingest.microseconds(at) for at in times]),
            id=[f"{context.stratum}-{i}" for i in range(n)],
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
