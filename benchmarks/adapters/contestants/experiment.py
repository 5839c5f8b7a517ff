"""The records of one experiment and the baseline before them, as every tool is given them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.capture.checks import tokens_of
from monitor.capture.parse import MAX_RECORDS, RECORDS, parse
from monitor.capture.signals import CLIP, token_signals
from monitor.capture.wire import Record

WINDOW = 50
"""Records a tool that compares windows is asked about at a time."""
FAILED = 400
"""HTTP status from which a request counts as failed."""
COLUMNS = (
    "mean_nll",
    "p95_nll",
    "near_certain",
    "entropy",
    "margin",
    "log_output_tokens",
    "log_prompt_tokens",
    "failed",
)
"""What a tool that reads a table is given of each request: signals of the product's own code.

Latency is left out: what a busy machine does to it would count against the tools.
"""

Floats = npt.NDArray[np.float64]


class Unreadable(Exception):  # noqa: N818 - it says what is wrong
    """A file of the run cannot be read; the message says which, where and why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Records as numbers.

    table
        ``(n, len(COLUMNS))``; NaN where not measured.
    tokens
        Of each record, the log-probabilities of its answer, finite and at least -30.
    """

    at: Sequence[str]
    table: Floats
    tokens: Sequence[Floats]

    def __len__(self) -> int:
        return len(self.at)

    def column(self, name: str) -> Floats:
        return self.table[:, COLUMNS.index(name)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experiment:
    """A way to go wrong, once: ``calm`` records before the break, the others after it."""

    folder: Path
    baseline: Requests
    live: Requests
    calm: int

    @property
    def key(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    def at(self, place: int) -> str:
        return self.live.at[place]

    def windows(self) -> Iterator[tuple[int, int]]:
        """Give windows of 50 that begin and end at the break; what is left over is in none."""
        for start in range(self.calm % WINDOW, self.calm, WINDOW):
            yield start, start + WINDOW
        for end in range(self.calm + WINDOW, len(self.live) + 1, WINDOW):
            yield end - WINDOW, end


def folders(run: Path) -> list[Path]:
    """Folders of the experiments that a run has finished, by name."""
    return sorted(path.parent for path in run.glob("*/*/truth.json"))


def load(run: Path, folder: Path) -> Experiment:
    """Read an experiment and the baseline of its adapter."""
    adapter = json.loads((folder / "truth.json").read_text(encoding="utf-8"))["adapter"]
    lines = _lines(folder / "records.jsonl")
    broken = [bool(line.pop("broken")) for line in lines]
    if broken != sorted(broken):
        raise Unreadable(f"{folder}: a healthy record follows a broken one")
    return Experiment(
        folder=folder,
        baseline=_baseline(run / "baseline" / f"{adapter}.jsonl"),
        live=_requests(folder / "records.jsonl", lines),
        calm=broken.count(False),
    )


@lru_cache(maxsize=8)
def _baseline(path: Path) -> Requests:
    return _requests(path, _lines(path))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _requests(path: Path, lines: Sequence[dict[str, Any]]) -> Requests:
    records: list[Record] = []
    for first in range(0, len(lines), MAX_RECORDS):
        body = "\n".join(json.dumps(line) for line in lines[first : first + MAX_RECORDS])
        parsed = parse(body.encode(), RECORDS, content_type="application/x-ndjson")
        for bad in parsed.rejected[:1]:
            raise Unreadable(f"{path}, line {first + bad.index + 1}: {bad.error}")
        records += [record for _, record in parsed.items]
    return numbers(records)


def numbers(records: Sequence[Record]) -> Requests:
    """Measure records as the product does."""
    tokens = [tokens_of(record) for record in records]
    table = np.full((len(records), len(COLUMNS)), np.nan)
    told = [place for place, one in enumerate(tokens) if one is not None and one.logprob.size]
    if told:
        signals = token_signals([one for place in told if (one := tokens[place]) is not None])
        for column, name in enumerate(COLUMNS):
            if name in signals:
                table[told, column] = signals[name]
    table[:, COLUMNS.index("log_output_tokens")] = _log([one.output_tokens for one in records])
    table[:, COLUMNS.index("log_prompt_tokens")] = _log([one.prompt_tokens for one in records])
    table[:, COLUMNS.index("failed")] = [(one.status or 0) >= FAILED for one in records]
    return Requests(
        at=[one.at.isoformat() for one in records],
        table=table,
        tokens=[_usable(one.logprob if one else None) for one in tokens],
    )


def _log(counts: Sequence[int | None]) -> Floats:
    return np.array([np.nan if one is None else np.log1p(one) for one in counts])


def _usable(logprob: npt.NDArray[np.float32] | None) -> Floats:
    if logprob is None:
        return np.empty(0)
    clipped = np.maximum(logprob.astype(np.float64), -CLIP)
    return clipped[np.isfinite(clipped)]
