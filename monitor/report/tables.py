"""The two tables that a report compares, as files for the drawing process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

MOST_ROWS: Final = 10_000
FEWEST_VALUES: Final = 2
"""Evidently's tests need two values on each side."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTexts:
    """The stored texts of both sides, by field; a field has texts on both sides, or is absent."""

    reference: Mapping[str, Sequence[str]]
    window: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """Signals and texts of a reference and of a window, one column each.

    Columns differ in length, and their rows need not be records: a reference stores the values of
    ranked signals sorted separately. NaN is "not measured". ``rates`` are the signals that are no
    or yes. ``notice`` describes the data in plain lines.
    """

    reference: Mapping[str, Floats]
    window: Mapping[str, Floats]
    rates: tuple[str, ...]
    texts: ReportTexts
    notice: tuple[str, ...]
    name: str


def sampled(
    reference: Mapping[str, Floats], window: Mapping[str, Floats], *, seed: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Draw at most 10,000 values of each reference column and 10,000 rows of the window.

    The same seed and the same tables give the same draw; order is kept.
    """
    rng = np.random.default_rng(seed)
    kept = {name: column[_draw(rng, column.size)] for name, column in reference.items()}
    rows = _draw(rng, max((column.size for column in window.values()), default=0))
    return kept, {name: column[rows] for name, column in window.items()}


def comparable(reference: Mapping[str, Floats], window: Mapping[str, Floats]) -> tuple[str, ...]:
    """Return the signals that both sides measured at least twice."""
    return tuple(
        name
        for name, column in reference.items()
        if _measured(column) >= FEWEST_VALUES and _measured(window[name]) >= FEWEST_VALUES
    )


def save(path: Path, tables: Tables) -> None:
    """Write tables to one ``.npz`` file."""
    columns = {f"reference:{name}": column for name, column in tables.reference.items()}
    columns |= {f"window:{name}": column for name, column in tables.window.items()}
    plain = {"notice": tables.notice, "rates": tables.rates, "name": tables.name}
    words = json.dumps(plain | {"texts": asdict(tables.texts)}).encode()
    with path.open("wb") as file:
        np.savez(file, words=np.frombuffer(words, dtype=np.uint8), **columns)  # type: ignore[arg-type]  # numpy's stub


def load(path: Path) -> Tables:
    """Read the tables of :func:`save`."""
    with np.load(path, allow_pickle=False) as arrays:
        words = json.loads(arrays["words"].tobytes())
        return Tables(
            reference=_side(arrays, "reference:"),
            window=_side(arrays, "window:"),
            rates=tuple(words["rates"]),
            texts=ReportTexts(**words["texts"]),
            notice=tuple(words["notice"]),
            name=words["name"],
        )


def _side(arrays: Mapping[str, npt.NDArray[np.float64]], prefix: str) -> dict[str, Floats]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _draw(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(rng.choice(n, MOST_ROWS, replace=False))


def _measured(column: Floats) -> int:
    return int(np.count_nonzero(~np.isnan(column)))
