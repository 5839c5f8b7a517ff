"""Speak to Driftline's API; answers are read into what the demo looks at of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar

import httpx2
import msgspec

from examples.demo.processes import FRESH

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One target of a route."""

    arm: str
    version: str
    model: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Who answers for an adapter."""

    adapter: str
    generation: int
    arms: tuple[Arm, ...]
    reason: str = ""
    valid_until: datetime | None = None
    on_expiry: str = "stable"

    @property
    def versions(self) -> dict[str, float]:
        """Share of the traffic by version, those without any left out."""
        return {arm.version: arm.weight for arm in self.arms if arm.weight > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Half-open: from ``start`` up to ``end``."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Latest score of one detector."""

    detector: str
    version: str
    window: Window
    verdict: str
    evidence: float | None = None
    value: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def strongest(self) -> float:
        """The larger of page and notice evidence; minus infinity where there is none."""
        notice = self.details.get("evidence_notice")
        known = [value for value in (self.evidence, notice) if value is not None]
        return max(known, default=float("-inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """What is known of an adapter now."""

    adapter: str
    version: str | None
    verdict: str
    blame: str
    reason: str
    drift_score: float
    route: Route | None = None
    scores: tuple[Score, ...] = ()

    def score(self, detector: str) -> Score | None:
        """Latest score of a detector; None before its first."""
        return next((score for score in self.scores if score.detector == detector), None)

    def verdict_of(self, detector: str) -> str:
        """Verdict of one detector alone; ``none`` where it has not scored yet."""
        score = self.score(detector)
        return score.verdict if score else "none"

    @property
    def leading(self) -> Score | None:
        """The score with the strongest evidence."""
        return max(self.scores, key=lambda score: score.strongest, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How far a reference is."""

    state: str
    provisional: bool
    progress: float
    approved_by: str | None = None
    error: str | None = None
    n_training: int = 0
    n_baseline: int = 0
    span_days: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One look at a window."""

    evaluation: int
    version: str
    kind: str
    state: str
    verdict: str | None
    n_records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What on-call is told about."""

    incident: int
    adapter: str
    version: str
    kind: str
    phase: str
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version on trial."""

    canary: int
    adapter: str
    version: str
    phase: str
    weight: float
    latched: bool
    reason: str

    @property
    def over(self) -> bool:
        """Whether it has been decided, and the router does what was decided."""
        return self.phase in {"succeeded", "rolled_back", "superseded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How far the training of a request is."""

    state: str
    made: str | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """A request to retrain an adapter."""

    retraining: int
    adapter: str
    cause: str
    training: Training | None


class DriftlineClient:
    """A blocking client; raises httpx2.HTTPError where Driftline refuses or is away."""

    def __init__(self, url: str, *, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self._http = httpx2.Client(
            base_url=f"{url}/v1", headers=headers, timeout=120.0, limits=FRESH
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def register(self, adapter: str, version: str, **described: Any) -> None:
        """Register a version; the first of an adapter gets its traffic."""
        self._send("PUT", f"/adapters/{adapter}/versions/{version}", json=described)

    def route_all_to(self, adapter: str, version: str, *, reason: str) -> Route:
        """Give all of an adapter's traffic to a version, if nobody changes it meanwhile."""
        seen = self._send("GET", f"/routes/{adapter}")
        body = {
            "arms": [{"arm": "stable", "version": version, "weight": 1.0}],
            "reason": reason,
        }
        answer = self._send(
            "PUT", f"/routes/{adapter}", json=body, headers={"if-match": seen.headers["etag"]}
        )
        return _read(answer, Route)

    def upload_reference(self, adapter: str, version: str, lines: Iterable[bytes]) -> None:
        """Stream a reference; it is built afterwards."""
        self._send(
            "POST",
            f"/adapters/{adapter}/versions/{version}/reference",
            content=lines,
            headers={"content-type": "application/x-ndjson"},
        )

    def reference(self, adapter: str, version: str) -> Reference | None:
        """Give the newest generation of a version's reference."""
        body = self._send("GET", f"/adapters/{adapter}/versions/{version}/reference").json()
        items = msgspec.convert(body["items"], tuple[Reference, ...])
        return items[0] if items else None

    def adapter(self, name: str) -> Adapter:
        """Give an adapter with its verdict, route and latest scores."""
        return _read(self._send("GET", f"/adapters/{name}"), Adapter)

    def evaluations(self, adapter: str, *, version: str, limit: int) -> tuple[Evaluation, ...]:
        """Give the newest evaluations of an adapter's version."""
        answer = self._send(
            "GET",
            f"/adapters/{adapter}/evaluations",
            params={"version": version, "limit": limit},
        )
        return msgspec.convert(answer.json()["items"], tuple[Evaluation, ...])

    def incidents(self) -> tuple[Incident, ...]:
        """Give the newest incidents of the fleet."""
        return msgspec.convert(
            self._send("GET", "/incidents").json()["items"], tuple[Incident, ...]
        )

    def begin_canary(self, adapter: str, version: str, *, unchecked: Sequence[str] = ()) -> int:
        """Put a version on trial by the config's steps; give the canary's number."""
        body = {"adapter": adapter, "version": version, "unchecked": list(unchecked)}
        return _read(self._send("POST", "/canaries", json=body), Canary).canary

    def retrainings(self) -> tuple[Retraining, ...]:
        """Give the newest requests to retrain."""
        answer = self._send("GET", "/retraining").json()["items"]
        return msgspec.convert(answer, tuple[Retraining, ...])

    def trained_for(self, adapter: str, version: str) -> float:
        """Give the seconds that a version's training took."""
        found = self._send("GET", f"/adapters/{adapter}/versions/{version}").json()
        return float(found["metadata"]["metrics"]["seconds"])

    def canaries(self) -> tuple[Canary, ...]:
        """Give the newest canaries."""
        return msgspec.convert(self._send("GET", "/canaries").json()["items"], tuple[Canary, ...])

    def _send(self, method: str, path: str, **given: Any) -> httpx2.Response:
        answer = self._http.request(method, path, **given)
        if answer.is_error:
            raise httpx2.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text[:500]}",
                request=answer.request,
                response=answer,
            )
        return answer


def _read(answer: httpx2.Response, kind: type[T]) -> T:
    return msgspec.json.decode(answer.content, type=kind)
