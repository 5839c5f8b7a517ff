"""The share of requests that each detector compared, and the limit below it. Pure.

``requests = compared + the gaps``, to the record. Sampling is no gap: the records set aside
are counted elsewhere, and the records kept stand for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from monitor.policy.settings import PolicySettings

KEPT: Final = timedelta(hours=24)
MOST_WINDOWS: Final = 96
MOST_VALUES: Final = 5
"""Most values listed for one cause; a client that draws its settings at random has many."""
OTHERS: Final = "other values"
LEAST_SHARE: Final = 0.05
"""Settings with this share of a day's requests or less get no reference of their own."""
ENOUGH_AGAIN: Final = 0.1
"""Blindness ends only once the compared share exceeds ``blind_below`` by this much."""


class Cause(StrEnum):
    """The reasons for which a request was not compared."""

    SETTINGS = "settings"
    """The reference has no request of these settings."""
    NOT_MEASURED = "not_measured"
    """Its record lacks the signal."""
    NOT_EMBEDDED = "not_embedded"
    """Its text still waited for the embedding probe."""
    LATE = "late"
    """Its record came more than a day after it began."""
    IMPORTED = "imported"
    """The same, beside records that came in time: an import of old ones, not the traffic."""
    NO_ANSWER = "no_answer"
    """It failed, so there is no answer to compare."""
    SKIPPED = "skipped"
    """It came while nothing was evaluated."""
    FAILED = "failed"
    """The detector raised an error."""
    NO_REFERENCE = "no_reference"
    """There is no reference, or it does not carry this detector."""


BLINDING: Final = frozenset({Cause.SETTINGS, Cause.NOT_MEASURED, Cause.NOT_EMBEDDED, Cause.LATE})
"""Causes that make a version blind. The others are reported elsewhere: as failing requests, as
downtime, as an error, as learning."""


class Why(NamedTuple):
    """A cause with its subject: ``settings``, ``temperature 0.7``."""

    cause: Cause
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One detector's comparison of the requests of one or more windows.

    ``usual`` is the share of the reference's own requests on which it could be measured.
    """

    detector: str
    requests: int
    compared: int
    gaps: Mapping[Why, int] = field(default_factory=dict)
    usual: float = 1.0

    @property
    def ratio(self) -> float | None:
        """Share of the requests that were compared, in [0, 1]; None: there were none."""
        return self.compared / self.requests if self.requests else None

    @property
    def expected(self) -> float:
        """The number of requests that a detector without gaps would have compared."""
        excused = sum(n for why, n in self.gaps.items() if why.cause not in BLINDING)
        return self.usual * max(self.requests - excused, 0)

    @property
    def of_expected(self) -> float | None:
        """Compared share of the expected requests, in [0, 1]; None where under one is expected."""
        return min(1.0, self.compared / self.expected) if self.expected >= 1.0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredWindow:
    """The coverage of one window of evaluation, by detector."""

    end: datetime
    by_detector: Mapping[str, Coverage]

    @property
    def requests(self) -> int:
        return max((one.requests for one in self.by_detector.values()), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The newest windows with requests, of each kind of evaluation, and the start of each gap.

    ``known_blind`` are the detectors that compared too little at the last look. Ending
    their blindness takes more than its beginning did.
    """

    windows: Mapping[str, tuple[CoveredWindow, ...]] = field(default_factory=dict)
    since: Mapping[Why, datetime] = field(default_factory=dict)
    known_blind: frozenset[str] = frozenset()

    def then(self, kind: str, window: CoveredWindow, settings: PolicySettings) -> Seen:
        """Add a window with requests, and drop windows that are too old or not needed."""
        known = [w for w in self.windows.get(kind, ()) if w.end > window.end - KEPT]
        if window.requests:
            known.append(window)
        windows = {**self.windows, kind: _enough(known, settings)}
        present = {
            why
            for kept in windows.values()
            for each in kept
            for one in each.by_detector.values()
            for why in one.gaps
        }
        seen = Seen(
            windows=windows,
            since={why: self.since.get(why, window.end) for why in sorted(present)},
            known_blind=self.known_blind,
        )
        return replace(seen, known_blind=frozenset(one.detector for one in seen.blind(settings)))

    def coverage(self) -> tuple[Coverage, ...]:
        """Sum the newest windows up, by detector."""
        return tuple(
            total
            for windows in self.windows.values()
            for total in summed(one for w in windows for one in w.by_detector.values())
        )

    def blind(self, settings: PolicySettings) -> tuple[Coverage, ...]:
        """Return the detectors that compare too little of the newest windows."""
        return tuple(
            total
            for kind, windows in self.windows.items()
            if len(windows) >= settings.blind_windows
            for total in self._of(kind)
            if _too_little(total, settings, already=total.detector in self.known_blind)
        )

    def blindness(self, settings: PolicySettings) -> Blindness | None:
        """Say which detectors compare too little, and why; None where none does."""
        blind = self.blind(settings)
        if not blind:
            return None
        lost: Counter[Why] = Counter()
        for one in blind:
            for why, n in one.gaps.items():
                if why.cause in BLINDING:
                    lost[why] = max(lost[why], n)
        why, n = max(lost.items(), key=lambda item: (item[1], item[0]))
        worst = max((one for one in blind if why in one.gaps), key=lambda one: one.requests)
        return Blindness(
            detectors=tuple(one.detector for one in blind),
            requests=worst.requests,
            compared=worst.compared,
            why=why,
            n=n,
            since=self.since.get(why),
        )

    def _of(self, kind: str) -> tuple[Coverage, ...]:
        windows = self.windows.get(kind, ())
        return summed(one for w in windows for one in w.by_detector.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only, and short: it is stored with every evaluation."""
        return {
            "windows": {
                kind: [
                    [
                        window.end.isoformat(),
                        [packed(one) for one in window.by_detector.values()],
                    ]
                    for window in windows
                ]
                for kind, windows in self.windows.items()
            },
            "since": [[*why, at.isoformat()] for why, at in self.since.items()],
            "blind": sorted(self.known_blind),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> Seen:
        """Read what :meth:`to_json` wrote; None, from older releases, is an empty history."""
        if not body:
            return cls()
        return cls(
            windows={
                kind: tuple(
                    CoveredWindow(
                        end=datetime.fromisoformat(end),
                        by_detector={row[0]: unpacked(row) for row in rows},
                    )
                    for end, rows in windows
                )
                for kind, windows in body["windows"].items()
            },
            since={
                Why(Cause(cause), value): datetime.fromisoformat(at)
                for cause, value, at in body["since"]
            },
            known_blind=frozenset(body["blind"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """The detectors that compare too little, and the main cause.

    In the newest windows ``n`` of the ``requests`` were not compared because of it.
    """

    detectors: tuple[str, ...]
    requests: int
    compared: int
    why: Why
    n: int
    since: datetime | None


def summed(parts: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """Add coverages up, by detector."""
    found: dict[str, list[Coverage]] = {}
    for one in parts:
        found.setdefault(one.detector, []).append(one)
    return tuple(_total(each) for each in found.values())


def fewer_values(gaps: Mapping[Why, int]) -> dict[Why, int]:
    """Keep the most frequent values of each cause, and combine the others."""
    kept: Counter[Why] = Counter()
    taken: Counter[Cause] = Counter()
    for why, n in sorted(gaps.items(), key=lambda gap: (-gap[1], gap[0])):
        taken[why.cause] += 1
        kept[why if taken[why.cause] <= MOST_VALUES else Why(why.cause, OTHERS)] += n
    return dict(sorted(kept.items()))


_FIELDS: Final = ("detector", "requests", "compared", "gaps", "usual")
"""Fields in the order of :func:`to_json`, for storage without their names."""


def to_json(one: Coverage) -> dict[str, Any]:
    """Plain JSON types only."""
    return {
        "detector": one.detector,
        "requests": one.requests,
        "compared": one.compared,
        "gaps": [[*why, n] for why, n in one.gaps.items()],
        "usual": one.usual,
    }


def from_json(body: Mapping[str, Any]) -> Coverage:
    """Read what :func:`to_json` wrote."""
    return Coverage(
        detector=body["detector"],
        requests=body["requests"],
        compared=body["compared"],
        gaps={Why(Cause(cause), value): n for cause, value, n in body["gaps"]},
        usual=body["usual"],
    )


def packed(one: Coverage) -> list[Any]:
    """Write the values of :func:`to_json` without their names."""
    return list(to_json(one).values())


def unpacked(row: Sequence[Any] | Mapping[str, Any]) -> Coverage:
    """Read what :func:`packed` wrote, or :func:`to_json`, as earlier releases stored it."""
    return from_json(row if isinstance(row, Mapping) else dict(zip(_FIELDS, row, strict=True)))


def _total(parts: Sequence[Coverage]) -> Coverage:
    requests = compared = 0
    gaps: dict[Why, int] = {}
    for one in parts:
        requests += one.requests
        compared += one.compared
        for why, n in one.gaps.items():
            gaps[why] = gaps.get(why, 0) + n
    return Coverage(
        detector=parts[-1].detector,
        requests=requests,
        compared=compared,
        gaps=gaps,
        usual=parts[-1].usual,
    )


def _enough(
    windows: Sequence[CoveredWindow], settings: PolicySettings
) -> tuple[CoveredWindow, ...]:
    """Keep the newest windows that the rule needs: more of them where requests are few."""
    kept: list[CoveredWindow] = []
    totals: dict[str, Coverage] = {}
    for window in reversed(windows[-MOST_WINDOWS:]):
        if len(kept) >= settings.blind_windows and _tell(totals.values(), settings):
            break
        kept.append(window)
        for one in window.by_detector.values():
            before = totals.get(one.detector)
            totals[one.detector] = one if before is None else _total((before, one))
    return tuple(reversed(kept))


def _tell(totals: Iterable[Coverage], settings: PolicySettings) -> bool:
    """Whether each detector that expects any requests expects enough of them."""
    return all(one.expected >= settings.blind_requests for one in totals if one.expected > 0.0)


def _too_little(one: Coverage, settings: PolicySettings, *, already: bool) -> bool:
    expected = one.expected
    share = settings.blind_below + (ENOUGH_AGAIN if already else 0.0)
    return expected >= settings.blind_requests and one.compared < share * expected
