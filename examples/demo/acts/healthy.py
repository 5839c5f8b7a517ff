"""Act one: nothing drifts, and nothing is said."""

from typing import Final

from examples.demo.acts import signs
from examples.demo.cast import IN_CHARGE
from examples.demo.outcome import ActResult
from examples.demo.stage import Stage

SETTLE_S: Final = 400.0
QUIET_S: Final = 20.0
WINDOWS: Final = 5


def healthy(stage: Stage) -> ActResult:
    """Play it."""
    result = ActResult(title="1 · healthy")
    stage.narrator.title("Act 1: three adapters answer as they always did")
    settled = stage.watch(
        f"until every adapter has been found stable and probed, over {WINDOWS} windows",
        seconds=SETTLE_S,
        until=signs.every(
            signs.settled,
            lambda _: all(_windows_with_traffic(stage, name) >= WINDOWS for name in IN_CHARGE),
        ),
    )
    after = stage.watch("nothing should happen", seconds=QUIET_S).sight
    for name, seen in after.adapters.items():
        windows = _windows_with_traffic(stage, name)
        result.check(
            f"{name} is stable after at least {WINDOWS} windows with traffic",
            seen.state.verdict == "stable" and windows >= WINDOWS,
            seen=f"{seen.state.verdict} after {windows}",
        )
    incidents = stage.client.incidents()
    result.check("no incident", not incidents, seen=len(incidents))
    result.check("no message", not after.messages, seen=len(after.messages))
    still = after.generations == settled.sight.generations
    result.check("no route changed", still, seen=after.generations)
    return result


def _windows_with_traffic(stage: Stage, adapter: str) -> int:
    looks = stage.client.evaluations(adapter, version=IN_CHARGE[adapter], limit=50)
    return sum(look.kind == "live" and look.n_records > 0 for look in looks)
