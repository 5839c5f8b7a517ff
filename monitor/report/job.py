"""Draw the requested reports one at a time, and keep them for a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from monitor.report.building import build_report
from monitor.report.errors import ReportError
from monitor.report.process import ReportStopped
from monitor.store.database import Database
from monitor.store.evaluation import reports
from monitor.store.evaluation.reports import ReportClaim
from monitor.store.registry import versions

_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The job of reports."""

    database: Database
    stopped: Callable[[], bool] = lambda: False

    def turn(self) -> bool:
        """Draw the report that has waited longest; return True if there may be more."""
        run = self.database.run
        held = run(reports.claim)
        if held is None:
            return False
        of = run(lambda tx: versions.fetch_by_id(tx, held.version_id))
        try:
            built = build_report(self.database, of, span=held.span, go_on=self._going(held))
        except ReportError as error:
            reason = str(error)
            run(lambda tx: reports.fail(tx, held, error=reason))
            _LOG.warning("report_failed", version=of.label, reason=reason)
        except ReportStopped:
            run(lambda tx: reports.release(tx, held))
            return False
        else:
            drawn = built.drawn
            run(
                lambda tx: reports.finish(
                    tx, held, facts=built.facts, page=drawn.page, snapshot=drawn.snapshot
                )
            )
            _LOG.info("report_drawn", version=of.label)
        return True

    def _going(self, held: ReportClaim) -> Callable[[float], bool]:
        """Keep the claim while the process works, and stop it with the service."""

        def go_on(share: float) -> bool:
            if self.stopped():
                return False
            return self.database.run(lambda tx: reports.progress(tx, held, share=share))

        return go_on
