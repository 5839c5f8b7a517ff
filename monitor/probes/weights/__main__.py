"""Inspect one folder under limits: ``python -m monitor.probes.weights``.

A question as JSON on stdin; one line of JSON on stdout: ``{"told": …}``, or ``{"refusal": …,
"reason": …}``. The process limits its own memory and CPU time, so that no folder can hurt its
caller, and sets an alarm that ends it even if the caller is gone.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import Final

import msgspec

from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.measures import measured
from monitor.probes.weights.process import WeightQuestion, WeightsSaid, WeightsTold
from monitor.probes.weights.report import shortened, to_json

MEMORY: Final = 3 << 30
"""Bytes of address space; any inspection needs only some hundred megabytes."""
NICE: Final = 10


def main(question: WeightQuestion) -> None:
    """Print what is found, or why there is nothing."""
    signal.alarm(question.seconds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (question.seconds, question.seconds))
    os.nice(NICE)
    try:
        found, measures = measured(question)
        said = WeightsSaid(told=WeightsTold(report=shortened(to_json(found)), measures=measures))
    except WeightsRefused as error:
        said = WeightsSaid(refusal=error.refusal, reason=error.reason)
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")


if __name__ == "__main__":
    main(msgspec.json.decode(sys.stdin.buffer.read(), type=WeightQuestion))
