"""A version with a reference and live records, in a real database."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.errors import SignalAbsent
from detectors.types import Window
from monitor.capture.checks import Tokens
from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.capture.signals import token_signals
from monitor.domain import EvaluationKind, ReferenceId, Version
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.message import Messages
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import ActionEvidence, PolicySettings
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.evaluation.tasks import Claim
from monitor.store.references import calibrations, references
from monitor.store.references.references import ReferenceSource
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence

TICK = timedelta(minutes=5)
"""Longer than a busy machine takes between two windows that tests ask for."""
KINDS = [EvaluationKind.HARD, EvaluationKind.LIVE]
STRATUM_SOURCE = "api"


def answer(rng: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    """Log-probabilities of one answer of 30 tokens; .2 is an sd of the mean NLL."""
    mean = max(0.01, float(rng.gamma(4.0, 0.1)) + shift * 0.2)
    return -rng.exponential(mean, 30)


def baseline(
    *, days: float = 15.0, count: int = 4_000, seed: int = 1, shift: float = 0.0
) -> Window:
    """A quiet fortnight: independent requests, no rhythm."""
    rng = np.random.default_rng(seed)
    end = datetime.now(tz=UTC).timestamp()
    at = np.sort(rng.uniform(end - days * 86_400, end, count))
    answers = [
        Tokens(logprob=answer(rng, shift).astype(np.float32), entropy=None, margin=None)
        for _ in range(count)
    ]
    quiet = dict.fromkeys(("empty", "loop", "missing", "rep_4gram"), np.zeros(count))
    # as they are stored: a share that is not rounded alike ties with none of the live ones
    stored = {
        name: values.astype(np.float32).astype(np.float64)
        for name, values in token_signals(answers).items()
    }
    signals = {**stored, **quiet, "log_length": np.full(count, np.log1p(30))}
    return Window(start=float(at[0]), end=end, at=at, signals=signals)


class NoEncoder:
    """Stands where texts would be embedded; there are none."""

    @property
    def encoder(self) -> str:
        raise AssertionError("the encoder's name was asked for")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        raise AssertionError(f"{len(texts)} texts were to be embedded")


def told_nobody() -> Messages:
    """Incidents are kept, and nobody is told of them."""
    return Messages(channels=(), preview=lambda *_: None, doubts=lambda *_: {})


@dataclass
class World:
    """One adapter version under watch."""

    database: Database
    version: Version
    intake: Intake
    reactions: list[ActionEvidence] = field(default_factory=list)
    sent: int = 0

    def send(
        self, count: int, *, shift: float = 0.0, at: datetime | None = None, **more: Any
    ) -> None:
        """Send live records whose token NLLs are ``shift`` sd above the baseline's."""
        rng = np.random.default_rng(self.sent + 7)
        now = at or datetime.now(tz=UTC)
        lines = []
        for _ in range(count):
            self.sent += 1
            record = {
                "id": f"r{self.sent}",
                "adapter": self.version.adapter,
                "at": now.isoformat(),
                "source": STRATUM_SOURCE,
                "token_logprobs": answer(rng, shift).tolist(),
                "output": "a short and friendly answer to the question",
                **more,
            }
            lines.append(json.dumps(record))
        outcome = self.intake.records(
            "\n".join(lines).encode(), content_type="application/x-ndjson"
        )
        assert (outcome.accepted, list(outcome.rejected)) == (count, [])

    def evaluator(self, **changes: Any) -> Evaluator:
        settings = EvaluateSettings(
            policy=PolicySettings(
                insufficient_records=5,
                recovery_window=timedelta(seconds=3),
                recovery_records=100,
            )
        )
        tools = {
            "database": self.database,
            "settings": settings,
            "cadences": {kind: Cadence(interval=TICK, lag=timedelta()) for kind in EvaluationKind},
            "tell": told_nobody(),
            "react": self._react,
            "embed": lambda _: None,
            "via": None,
            **changes,
        }
        return Evaluator(**tools)

    def _react(
        self, tx: Connection, found: Sequence[tuple[Version, ActionEvidence, datetime]]
    ) -> None:
        del tx
        self.reactions += [evidence for _, evidence, _ in found]

    def claim(self, kind: EvaluationKind = EvaluationKind.LIVE, owner: str = "me") -> Claim | None:
        found = self.database.run(
            lambda tx: tasks.claim(
                tx, owner=owner, kinds=[kind], lease=timedelta(seconds=30), limit=1
            )
        )
        return found[0] if found else None

    def make_due(self) -> None:
        """Let the tasks' next windows be those that end now."""
        self.database.run(
            lambda tx: tasks.request(tx, version_id=self.version.id, kinds=[*EvaluationKind])
        )

    def refreeze(self, **signals: float | np.ndarray) -> ReferenceId:
        """Put another reference in force, whose baseline measured some more signals."""
        own = baseline(seed=2)
        more = {name: np.broadcast_to(value, len(own)) for name, value in signals.items()}
        known = replace(own, signals={**own.signals, **more})
        return ready_reference(self.database, self.version, known)

    def rows(self, query: str) -> list[Any]:
        return self.database.run(lambda tx: list(tx.execute(sa.text(query))))


def ready_reference(
    database: Database,
    version: Version,
    window: Window,
    *,
    span_days: float = 15.0,
    approved_by: str | None = "coverage",
) -> ReferenceId:
    """Freeze a baseline the way the builder does, without its embedding model."""

    def work(tx: Connection) -> ReferenceId:
        made = references.create(
            tx, version_id=version.id, source=ReferenceSource.UPLOAD,
            cause="test", created_by="test", request={},
        )  # fmt: skip
        claim = references.claim_building(tx)
        assert claim is not None
        assert claim.reference_id == made.reference_id
        found = {}
        for name, detector in DETECTORS.items():
            try:
                body = detector.dump(detector.fit(window))
                found[name] = calibrations.Calibration(body=body)
            except SignalAbsent as error:
                found[name] = calibrations.Calibration(body=None, absent_reason=str(error))
        calibrations.insert(tx, made.reference_id, calibrations=found, bins={})
        strata = [row.stratum for row in tx.execute(sa.text("SELECT stratum FROM contexts"))]
        references.ready(
            tx,
            claim,
            references.BuiltReference(
                n_training=0, n_baseline=len(window), span_days=span_days, encoder=None,
                strata=strata, hourly_rate=len(window) / 360, approved_by=approved_by,
            ),
        )  # fmt: skip
        return made.reference_id

    return database.run(work)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    def register(tx: Connection) -> Version:
        partitions.create_ahead(tx, now=datetime.now(tz=UTC))
        adapter = adapters.put(tx, name="support")
        made = versions.put(tx, adapter=adapter, name="v7", model="support@v7")
        tasks.ensure(tx, first_due={kind: timedelta() for kind in EvaluationKind})
        return made

    version = database.run(register)
    settings = Settings(
        target_per_day=10_000_000, embed_prompts=False, bounds=QueueBounds(linger=0.0)
    )
    intake = Intake(database, subject_key=b"k" * 32, settings=settings)
    intake.start()
    made = World(database=database, version=version, intake=intake)
    made.send(1)
    ready_reference(database, version, baseline())
    yield made
    assert intake.close()


@pytest.fixture
def evaluate(world: World) -> Callable[..., Any]:
    """Evaluate the live detectors over what came since the last window."""
    evaluator = world.evaluator()

    def run(kind: EvaluationKind = EvaluationKind.LIVE) -> Any:
        world.make_due()
        claim = world.claim(kind)
        assert claim is not None
        return evaluator.evaluate(claim)

    return run
