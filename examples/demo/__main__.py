"""``python -m examples.demo [--once]``: play the acts, then stay up until Ctrl-C."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

from examples.demo.acts import ACTS
from examples.demo.narrator import Narrator
from examples.demo.outcome import ActResult
from examples.demo.setting import open_stage
from examples.demo.stage import Stage

FAILED: Final = 1
INTERRUPTED: Final = 130
FOR_EVER_S: Final = 365 * 24 * 3600.0


class ActsFailedError(RuntimeError):
    """An act did not end as it must; the text says what was missing."""


def main() -> int:
    """Play; 0 when every act ended as it must, else 1 (130 when interrupted before)."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the last act")
    once: bool = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    narrator = Narrator()
    narrator.title("Driftline: real adapters, real traffic, five acts")
    try:
        with open_stage(narrator) as stage:
            results = play(stage)
            if not once:
                _stay(stage)
            _require_passed(results)
    except KeyboardInterrupt:
        narrator.say("interrupted; everything is ended and removed")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the top of a program for a terminal
        narrator.say(f"{type(error).__name__}: {error}", style="bold red")
        return FAILED
    narrator.say("every act ended as it must", style="bold green")
    return 0


def play(stage: Stage) -> list[ActResult]:
    """Play every act and show how each ended."""
    began = time.monotonic()
    results = []
    for act in ACTS:
        result = act(stage)
        stage.narrator.result(result)
        results.append(result)
    stage.narrator.summary(results)
    stage.narrator.say(f"the acts took {time.monotonic() - began:.0f} s")
    return results


def _stay(stage: Stage) -> None:
    """Let the traffic go on until Ctrl-C, which is how this is meant to end."""
    stage.narrator.say(
        f"the traffic goes on; dashboard: {stage.dashboard}  key: {stage.key}  (Ctrl-C ends it)",
        style="bold",
    )
    with contextlib.suppress(KeyboardInterrupt):
        stage.watch("until Ctrl-C", seconds=FOR_EVER_S)


def _require_passed(results: Sequence[ActResult]) -> None:
    missing = [
        f"act {result.title}: {check.what} (seen: {check.seen})"
        for result in results
        for check in result.missing
    ]
    if missing:
        raise ActsFailedError("; ".join(missing))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
