"""Run the fleet's self-tests one at a time, requested or due, and store their reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy import Connection

from detectors import DETECTORS
from monitor.domain import Reference, ReferenceId, Version
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy.budget import saw_too_few_days, shares
from monitor.reference.index import Indexes, IndexMissing
from monitor.selftest.process import Failed, SelfTestJob, Stopped, run_apart
from monitor.selftest.testing import STREAMS
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, selftests
from monitor.store.evaluation.selftests import SelfTestClaim
from monitor.store.references import calibrations, reference_axes, reference_baselines, references
from monitor.store.registry import versions, watching

_LOG = structlog.get_logger(__name__)

CHECK: Final = timedelta(minutes=15)
"""The resolution of delays, or the live interval if that is longer."""
UNKNOWN_PER_DAY: Final = 4_000.0
"""Records a day if neither the last day nor the baseline tells: the target of capture."""
MOST_PER_DAY: Final = 20_000.0
"""The most records a day that are replayed, 208 an evaluation: more would cost but add little."""
_DAY: Final = timedelta(days=1)
_SEED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTests:
    """The job of self-tests; ``every`` zero runs only requested ones."""

    database: Database
    settings: EvaluateSettings
    indexes: Indexes
    every: timedelta
    live_interval: timedelta
    stopped: Callable[[], bool] = lambda: False
    streams: int = STREAMS

    def turn(self) -> bool:
        """Run the next self-test, if one is due; return True if there may be more."""
        held = self.database.run(self._claim)
        if held is None:
            return False
        try:
            reference, asked = self.database.run(lambda tx: self._asked(tx, held))
            report = run_apart(self._with_index(asked, reference.id), go_on=self._going(held))
        except Failed as error:
            reason = str(error)
            self.database.run(lambda tx: selftests.fail(tx, held, error=reason))
            _LOG.warning("selftest_failed", version_id=held.version_id, reason=reason)
        except Stopped:
            self.database.run(lambda tx: selftests.release(tx, held))
            return False
        else:
            self.database.run(
                lambda tx: selftests.finish(tx, held, reference_id=reference.id, report=report)
            )
            _LOG.info("selftest_done", version_id=held.version_id)
        return True

    def _claim(self, tx: Connection) -> SelfTestClaim | None:
        scheduled = []
        if self.every > timedelta():
            standings = watching.fleet(tx, now=clock.now(tx))
            scheduled = [version for version, one in standings.items() if one.watched]
        return selftests.claim(tx, scheduled=scheduled, every=self.every)

    def _going(self, held: SelfTestClaim) -> Callable[[float], bool]:
        """Keep the claim while the process works, and stop it with the service."""

        def go_on(share: float) -> bool:
            if self.stopped():
                return False
            return self.database.run(lambda tx: selftests.progress(tx, held, share=share))

        return go_on

    def _asked(self, tx: Connection, held: SelfTestClaim) -> tuple[Reference, SelfTestJob]:
        version = versions.fetch_by_id(tx, held.version_id)
        reference = references.current(tx, version.id)
        if reference is None:
            raise Failed("it has no reference yet: there is nothing to replay")
        body = reference_baselines.read(tx, reference.id)
        if body is None:
            raise Failed(
                "its reference was built before baselines were kept: freeze or upload it anew"
            )
        return reference, SelfTestJob(
            baseline=body,
            shares=self._shares(tx, version, reference, held),
            per_day=self._per_day(tx, version, reference, held),
            check_seconds=max(CHECK, self.live_interval).total_seconds(),
            seed=int.from_bytes(hashlib.sha256(body).digest()[:_SEED], "big") >> 1,
            streams=self.streams,
            axes=reference_axes.read(tx, reference.id),
        )

    def _shares(
        self, tx: Connection, version: Version, reference: Reference, held: SelfTestClaim
    ) -> dict[str, tuple[float, float]]:
        stored = calibrations.read(tx, reference.id)
        carried = {
            name: DETECTORS[name].load(body)
            for name in self.settings.detectors
            if name in stored and (body := stored[name].body) is not None
        }
        standing = watching.standing(tx, version, now=held.now)
        divided = shares(
            self.settings.budget,
            standing,
            detectors=carried,
            only_tickets=saw_too_few_days(carried, span_days=reference.span_days),
        )
        if not any(share.notice or share.page for share in divided.values()):
            raise Failed("it has no share of the budget: no arm of the route, no records lately")
        return {name: (share.notice, share.page) for name, share in divided.items()}

    def _per_day(
        self, tx: Connection, version: Version, reference: Reference, held: SelfTestClaim
    ) -> float:
        rates = evaluations.daily_records(tx, [version.id], since=held.now - _DAY)
        usual = 24.0 * references.details(tx, reference.id).hourly_rate
        return min(MOST_PER_DAY, rates.get(version.id, 0.0) or usual or UNKNOWN_PER_DAY)

    def _with_index(self, asked: SelfTestJob, reference_id: ReferenceId) -> SelfTestJob:
        """Add the training index's file, from which new topics are taken."""
        try:
            rows = len(self.indexes.open(self.database, reference_id))
        except (IndexMissing, OSError) as error:
            _LOG.info("selftest_without_topics", reference_id=reference_id, reason=str(error))
            return asked
        path = str(self.indexes.path(reference_id))
        return msgspec.structs.replace(asked, index=path, rows=rows)
