"""``python -m examples.demo [--once]``: play the acts, then stay up until Ctrl-C."""

import argparse
import logging
import signal
import sys
import time
from types import FrameType
from typing import Final

from examples.demo.acts import ACTS
from examples.demo.narrator import Narrator
from examples.demo.outcome import ActResult
from examples.demo.setting import open_stage
from examples.demo.stage import Stage

INTERRUPTED: Final = 130
FOR_EVER_S: Final = 365 * 24 * 3600.0


def main() -> int:
    """Play; 0 when every act ended as it must, else 1 (130 when interrupted)."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the third act")
    once: bool = parser.parse_args().once
    # Two requests a second are asked about by name in the HTTP client's log otherwise.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    narrator = Narrator()
    try:
        with open_stage(narrator) as stage:
            results = play(stage)
            if not once:
                _stay(stage)
    except KeyboardInterrupt:
        narrator.say("interrupted; everything is ended and removed")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the top of a program for a terminal
        narrator.say(f"the demo could not go on: {error}", style="bold red")
        return 1
    return 0 if all(result.passed for result in results) else 1


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
    for result in results:
        for check in result.checks:
            if not check.passed:
                stage.narrator.say(
                    f"missing in act {result.title}: {check.what} (seen: {check.seen})",
                    style="bold red",
                )
    return results


def _stay(stage: Stage) -> None:
    stage.narrator.say(
        f"the traffic goes on; dashboard: {stage.dashboard}  key: {stage.key}  (Ctrl-C ends it)",
        style="bold",
    )
    stage.watch("until Ctrl-C", seconds=FOR_EVER_S)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
