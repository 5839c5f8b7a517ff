"""Inject drifts into a baseline's records. Pure.

An injection names the signals that its fault moves: it imitates a fault, whoever looks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.axes import Axes, coordinates
from detectors.expected_delay import BAD_SHARE, BAD_SIZE
from detectors.nearest import nearest
from detectors.signals import SIMILARITY, TOPICS
from detectors.types import Floats, Window

Signals = Mapping[str, Floats]

NEW_TOPICS: Final = 4
TOPIC_SHARE: Final = 0.05
"""The share of the training index that is removed around each topic."""
TOPIC_TEXTS: Final = 64
"""The most texts of a topic that are asked: its inner half or less."""
NEW_SHARE: Final = 0.2
_BLOCK: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A named drift, its description, and its effect on a window's signals.

    ``change`` returns only the signals that it moves; none if the window lacks the ones it needs.
    """

    name: str
    text: str
    change: Callable[[Window, np.random.Generator], Signals]


def injections(topics: Signals | None) -> tuple[Injection, ...]:
    """List all injections; ``topics`` are requests that training never saw."""
    found = [
        *(_shift(size) for size in (0.2, 0.5, 1.0)),
        Injection(
            name="bad_requests",
            text=f"{BAD_SHARE:.0%} of the answers {BAD_SIZE:g} sd less likely".replace("%", " %"),
            change=_tail,
        ),
        *(_loops(share) for share in (0.02, 0.05)),
    ]
    if topics is not None:
        found.append(_new_topics(topics))
    return tuple(found)


def unseen_topics(
    index: npt.NDArray[np.float16], axes: Axes | None, rng: np.random.Generator
) -> dict[str, Floats]:
    """Compute the signals of requests on topics that the training index lacks.

    Four texts are drawn from the index, and the 5 % of it nearest to each are removed. The inner
    ones of these are then compared with the rest, as live requests are.

    Returns
    -------
    dict
        ``similarity`` and, if the index has axes, the coordinates, of up to 256 texts.
    """
    size = min(max(2, round(TOPIC_SHARE * len(index))), len(index) // (2 * NEW_TOPICS))
    if size < 1:
        return {}
    out = np.zeros(len(index), dtype=np.bool_)
    asked: list[npt.NDArray[np.int64]] = []
    for centre in rng.choice(len(index), NEW_TOPICS, replace=False).tolist():
        near = np.argsort(-_cosines(index, centre), kind="stable")
        topic = near[~out[near]][:size]
        out[topic] = True
        asked.append(topic[: min(TOPIC_TEXTS, max(1, size // 2))])
    queries = np.asarray(index[np.concatenate(asked)])
    signals = {SIMILARITY: _nearest_left(index, ~out, queries)}
    if axes is not None:
        signals |= dict(zip(TOPICS, coordinates(axes, queries).T, strict=True))
    return signals


def spread(values: Floats) -> float:
    """Return half of the central 68 %: one sd of a normal signal; NaN without data."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    low, high = np.quantile(known, (0.16, 0.84))
    return float(high - low) / 2.0


def _shift(size: float) -> Injection:
    return Injection(
        name=f"shift_{size:g}",
        text=f"mean NLL {size:+g} sd in every answer",
        change=lambda window, _rng: _moved(window, ("mean_nll",), by=size, share=None),
    )


def _tail(window: Window, rng: np.random.Generator) -> Signals:
    hit = rng.random(len(window)) < BAD_SHARE
    return _moved(window, ("mean_nll", "p95_nll", "entropy"), by=BAD_SIZE, share=hit)


def _moved(
    window: Window, signals: tuple[str, ...], *, by: float, share: npt.NDArray[np.bool_] | None
) -> Signals:
    return {
        name: window.signals[name]
        + by * spread(window.signals[name]) * (1.0 if share is None else share)
        for name in signals
        if _measured(window, name)
    }


def _loops(share: float) -> Injection:
    """Inject loops, which repeat themselves with certainty until cut off."""

    def change(window: Window, rng: np.random.Generator) -> Signals:
        hit = rng.random(len(window)) < share
        points = {"mean_nll": 0.01, "entropy": 0.01, "p95_nll": 0.01, "near_certain": 0.99}
        found = {
            name: np.where(hit & known, np.nanquantile(values, point), values)
            for name, point in points.items()
            if _measured(window, name)
            for values in (window.signals[name],)
            for known in (np.isfinite(values),)
        }
        if _measured(window, "loop"):
            found["loop"] = np.where(hit, 1.0, window.signals["loop"])
        return found

    return Injection(
        name=f"loops_{share:g}", text=f"{100 * share:g} % of the answers are loops", change=change
    )


def _new_topics(topics: Signals) -> Injection:
    def change(window: Window, rng: np.random.Generator) -> Signals:
        hit = rng.random(len(window)) < NEW_SHARE
        chosen = rng.integers(len(topics[SIMILARITY]), size=int(hit.sum()))
        found = {}
        for name, values in topics.items():
            if _measured(window, name):
                mixed = window.signals[name].copy()
                mixed[hit] = values[chosen]
                # a record without a compared prompt stays one
                found[name] = np.where(np.isfinite(window.signals[name]), mixed, np.nan)
        return found

    return Injection(
        name="new_topics",
        text=f"{NEW_SHARE:.0%} of the requests of topics that the training lacks".replace(
            "%", " %"
        ),
        change=change,
    )


def _measured(window: Window, name: str) -> bool:
    values = window.signals.get(name)
    return values is not None and bool(np.isfinite(values).any())


def _cosines(index: npt.NDArray[np.float16], row: int) -> Floats:
    asked = index[row].astype(np.float32)
    found = [
        index[first : first + _BLOCK].astype(np.float32) @ asked
        for first in range(0, len(index), _BLOCK)
    ]
    return np.concatenate(found).astype(np.float64)


def _nearest_left(
    index: npt.NDArray[np.float16], kept: npt.NDArray[np.bool_], queries: npt.NDArray[np.float16]
) -> Floats:
    """Return the cosine to the nearest kept example, block by block, as an index may be large."""
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    for first in range(0, len(index), _BLOCK):
        block = index[first : first + _BLOCK][kept[first : first + _BLOCK]]
        if len(block):
            found = nearest(block, queries.astype(np.float32)).similarity
            best = np.maximum(best, found.astype(np.float32))
    return best.astype(np.float64)
