"""Run admissions one at a time, and store their reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Connection

from alerts.message import finite
from detectors.checks import Check, CheckVerdict, worst
from monitor.admission.answers import GivenTexts, check_answers
from monitor.admission.choices import Question
from monitor.admission.files import FilesChecked, FindsFiles, check_files, local_files
from monitor.admission.settings import AdmissionSettings
from monitor.admission.suite import general_questions
from monitor.domain import Version
from monitor.probes.asking import ModelProbe
from monitor.store import audit, clock
from monitor.store.database import Database
from monitor.store.registry import admissions, versions
from monitor.store.registry.admissions import AdmissionClaim
from monitor.traffic import table

_LOG: Final = structlog.get_logger(__name__)
RENEWED_EVERY: Final = 60.0
"""Seconds."""


class _TakenOver(Exception):  # noqa: N818 (it says what happened)
    """Another worker has this admission: the lease ran out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admissions:
    """The job of admissions; any number of workers share a database.

    ``via`` reads texts with the served version; None: nothing does here. ``questions`` are those
    of the check ``forgetting``. ``files`` finds a version's files.
    """

    database: Database
    settings: AdmissionSettings
    via: ModelProbe | None = None
    questions: Sequence[Question] = general_questions()
    files: FindsFiles = local_files

    def turn(self) -> bool:
        """Run the next admission, if one waits; return True if there may be more."""
        held = self.database.run(admissions.claim)
        if held is None:
            return False
        version, parent = self.database.run(lambda tx: _version(tx, held))
        try:
            self._check(held, version, parent)
        except _TakenOver:
            _LOG.warning("admission_taken_over", version=version.label)
        except Exception as error:  # noqa: BLE001 (one of many: its failure is stored)
            _LOG.exception("admission_failed", version=version.label)
            reason = f"it could not be checked ({type(error).__name__}): see the worker's log"
            self.database.run(lambda tx: admissions.fail(tx, held, error=reason))
        return True

    def _check(self, held: AdmissionClaim, version: Version, parent: Version | None) -> None:
        given = msgspec.convert(held.request, GivenTexts)
        like = self.database.run(lambda tx: _named(tx, version, given.same_as))
        with self._renewing(held):
            files = check_files(version, parent, self.settings.weights, find=self.files)
        self._renew(held)
        answers = check_answers(
            version,
            given,
            self.settings,
            via=self.via,
            parent=parent,
            like=like,
            questions=self.questions,
            alive=lambda: self._renew(held),
        )
        checks = [*files.checks, *answers]
        self.database.run(lambda tx: self._finish(tx, held, version, files, checks))

    @contextmanager
    def _renewing(self, held: AdmissionClaim) -> Iterator[None]:
        """Renew the lease now and then, while files are fetched and read."""
        ended = Event()

        def beat() -> None:
            while not ended.wait(RENEWED_EVERY):
                try:
                    self._renew(held)
                except _TakenOver:  # who goes on finds out
                    return
                except Exception:  # noqa: BLE001 (the next beat may reach the database)
                    _LOG.exception("admission_not_renewed")

        thread = Thread(target=beat, name="admission-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _renew(self, held: AdmissionClaim) -> None:
        if not self.database.run(lambda tx: admissions.renew(tx, held)):
            raise _TakenOver

    def next_due(self) -> timedelta | None:
        """Return the time until one can be claimed; None while none waits."""
        return self.database.run(admissions.next_due)

    def _finish(
        self,
        tx: Connection,
        held: AdmissionClaim,
        version: Version,
        files: FilesChecked,
        checks: Sequence[Check],
    ) -> None:
        """Store verdict and report, and start the route of a first version that waited for them."""
        verdict = worst(checks)
        report = {
            "checks": _beside(checks, _numbers(tx, version)),
            "parent": version.parent,
            "identity": files.identity,
            "sha256": files.sha256,
        }
        if not admissions.finish(tx, held, verdict=verdict, report=report):
            return  # another worker has taken it over
        refused = [check.name for check in checks if check.verdict is CheckVerdict.REFUSE]
        audit.append(
            tx,
            actor=held.requested_by,
            act="version.refused" if refused else "version.admitted",
            subject=version.label,
            details={"admission": held.id, "verdict": verdict.value, "refused": refused},
        )
        if not refused:
            now = clock.now(tx)
            table.start(tx, version, actor=held.requested_by, now=now, done="admitted")
        _LOG.info("admission_done", version=version.label, verdict=verdict.value, refused=refused)


def _version(tx: Connection, held: AdmissionClaim) -> tuple[Version, Version | None]:
    version = versions.fetch_by_id(tx, held.version_id)
    return version, _named(tx, version, version.parent)


def _named(tx: Connection, version: Version, name: str | None) -> Version | None:
    return None if name is None else versions.fetch(tx, adapter=version.adapter, name=name)


def _numbers(tx: Connection, version: Version) -> Mapping[str, float]:
    """Return the numbers of the parent's newest report, by check."""
    parent = _named(tx, version, version.parent)
    row = admissions.newest(tx, parent.id, done=True) if parent else None
    checks = row.report["checks"] if row and row.report else ()
    return {one["name"]: one["number"] for one in checks if one["number"] is not None}


def _beside(checks: Sequence[Check], parents: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {
            **asdict(check),
            "verdict": check.verdict.value,
            "number": finite(check.number),
            "details": finite(check.details),
            "parent": parents.get(check.name),
        }
        for check in checks
    ]


# met here once: alerts/message.py says why
msgspec.json.Decoder(GivenTexts)
