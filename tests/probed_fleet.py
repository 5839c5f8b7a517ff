"""Versions whose perplexity is evaluated on demand, through a real evaluator and store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from monitor.domain import EvaluationKind, Version
from monitor.evaluate.evaluator import Ending
from monitor.store.evaluation import evaluations, tasks, verdicts
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence

HOUR = timedelta(hours=1)


class Fleet:
    """Versions on one base, probed on demand; the clock is moved by ageing what is stored."""

    def __init__(self, world: Any, via: Any) -> None:
        self.world = world
        self.toys = via
        self.cadence = Cadence(interval=6 * HOUR, lag=timedelta())
        cadences = dict.fromkeys(EvaluationKind, self.cadence)
        self.evaluator = world.evaluator(via=via, cadences=cadences)

    def register(self, name: str, *, uri: str | None = None) -> Version:
        """A further adapter whose version is served under its own name."""

        def work(tx: Connection) -> Version:
            adapter = adapters.put(tx, name=name)
            made = versions.put(tx, adapter=adapter, name="v1", model=name, uri=uri)
            tasks.ensure(tx, first_due={kind: timedelta() for kind in EvaluationKind})
            return made

        return self.world.database.run(work)

    def probe(
        self, version: Version | None = None, *, requested: bool = False, owner: str = "me"
    ) -> Ending:
        """One perplexity evaluation by a process, a scheduled one unless requested."""
        wanted = version or self.world.version
        # one result a window: let the next one be another window; by the hour of the day what
        # was claimed began with a piece of the window before it, which was skipped
        self.world.rows("DELETE FROM evaluations WHERE state = 'skipped' RETURNING 1")
        self.world.rows(
            "DELETE FROM evaluations old USING evaluations new WHERE new.id > old.id"
            " AND new.version_id = old.version_id RETURNING 1"
        )
        self.world.rows(
            "UPDATE evaluations SET window_start = window_start - interval '9 days',"
            " window_end = window_end - interval '9 days' RETURNING 1"
        )
        self.world.rows("DELETE FROM scores RETURNING 1")
        self.world.rows(
            "UPDATE tasks SET next_due_at = now() + interval '1 day', requested_at = NULL"
            " WHERE kind = 'perplexity' RETURNING 1"
        )
        at = "now()" if requested else "NULL"
        self.world.rows(
            f"UPDATE tasks SET next_due_at = now() - interval '1 s', requested_at = {at},"
            " next_window_start = now() - interval '7 h', lease_until = NULL"
            f" WHERE kind = 'perplexity' AND version_id = {wanted.id} RETURNING 1"
        )
        claim = self.world.claim(EvaluationKind.PERPLEXITY, owner=owner)
        assert claim is not None
        return self.evaluator.evaluate(claim)

    def age(self, by: timedelta) -> None:
        """Let everything stored be older."""
        seconds = by.total_seconds()
        for table in ("perplexity_runs", "identity_checks"):
            for column in ("at", "retired_at"):
                self.world.rows(
                    f"UPDATE {table} SET {column} = {column} - interval '{seconds} s' RETURNING 1"
                )
        self.world.rows(
            "UPDATE perplexity_documents"
            f" SET read_at = read_at - interval '{seconds} s' RETURNING 1"
        )
        self.world.rows(
            f"UPDATE evaluations SET finished_at = finished_at - interval '{seconds} s' RETURNING 1"
        )

    def later(
        self,
        version: Version | None = None,
        *,
        requested: bool = False,
        by: timedelta = 6 * HOUR,
    ) -> Ending:
        self.age(by)
        return self.probe(version, requested=requested)

    def verdict(self, version: Version | None = None) -> Any:
        wanted = version or self.world.version
        row = self.world.database.run(lambda tx: verdicts.current(tx, version_id=wanted.id))
        return row.verdict

    def score(self, version: Version | None = None) -> Any:
        wanted = version or self.world.version
        found = self.world.database.run(
            lambda tx: evaluations.latest_scores_of(tx, adapter_id=wanted.adapter_id)
        )
        return next(row for row in found if row.detector == "perplexity")

    def asked(self) -> list[tuple[str, str, int]]:
        """What was asked since the last call."""
        found = list(self.toys.asked)
        self.toys.asked.clear()
        return found
