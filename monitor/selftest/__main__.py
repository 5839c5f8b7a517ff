"""Read a question from stdin, test, and write lines of JSON: :mod:`monitor.selftest.process`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import numpy as np

from detectors.axes import load_axes
from detectors.types import Budget
from monitor.reference.index import map_file
from monitor.reference.kept import unpack
from monitor.selftest.injections import Signals, unseen_topics
from monitor.selftest.process import Said, SelfTestJob
from monitor.selftest.testing import SelfTestSubject, TooShort, run

_NICER = 10
"""A tenth of other processes' time on a busy machine; the lowest priority would get none."""


def main() -> None:
    """Answer one question, at a lower priority than the rest of the machine."""
    os.nice(_NICER)
    parent = os.getppid()
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=SelfTestJob)
    question = SelfTestSubject(
        baseline=unpack(asked.baseline),
        shares={name: Budget(notice=n, page=p) for name, (n, p) in asked.shares.items()},
        per_day=asked.per_day,
        check_seconds=asked.check_seconds,
        seed=asked.seed,
        streams=asked.streams,
        topics=_topics(asked),
    )

    def told(done: int, of: int) -> None:
        if os.getppid() != parent:
            sys.exit("whoever asked is gone")
        _say(Said(share=done / of))

    try:
        _say(Said(share=1.0, report=run(question, told=told)))
    except TooShort as reason:
        _say(Said(refused=str(reason)))


def _topics(asked: SelfTestJob) -> Signals | None:
    if asked.index is None:
        return None
    index = map_file(Path(asked.index), rows=asked.rows, wanted=None)
    if index is None:
        return None
    axes = None if asked.axes is None else load_axes(asked.axes, dimension=index.shape[1])
    return unseen_topics(index, axes, np.random.default_rng(asked.seed)) or None


def _say(line: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
