"""SIGKILL between any two statements of an evaluation: verdict, incident and messages agree."""

import os
import signal
from typing import Any

import pytest
import sqlalchemy as sa

from alerts.delivery import Delivered
from alerts.message import Alert
from monitor.domain import EvaluationKind
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.database import Database

CHANNELS = ("on-call", "desk")
STATE = """
    SELECT (SELECT kind = 'critical' FROM verdicts) AS verdict,
           (SELECT count(*) FROM transitions) AS transitions,
           (SELECT count(*) FROM incidents WHERE closed_at IS NULL) AS incidents,
           (SELECT count(*) FROM outbox) + (SELECT count(*) FROM held) AS messages,
           (SELECT count(*) > 0 FROM scores) AS scores,
           (SELECT count(*) FROM evaluations) AS evaluations
"""
NOTHING = (None, 0, 0, 0, False, 0)
EVERYTHING = (True, 1, 1, len(CHANNELS), True, 1)


class Nowhere:
    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} of {alert.id} was sent while it was being decided")


def dying_database(url: str, *, before: int) -> Database:
    """Kill this process before its n-th statement, or the commit after the last one."""
    database = Database(url)
    done = 0

    def statement(*_: Any) -> None:
        nonlocal done
        if done == before:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1

    sa.event.listen(database.engine, "before_cursor_execute", statement)
    sa.event.listen(database.engine, "commit", statement)
    return database


def evaluate_and_die(world: Any, claim: Any, *, before: int) -> bool:
    """Evaluate in a process of its own; whether it was killed."""
    url = world.database.engine.url.render_as_string(hide_password=False)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            messages = Messages(
                channels=[ConfiguredChannel(name=one, channel=Nowhere()) for one in CHANNELS],
                preview=lambda *_, **__: None,
                doubts=lambda *_: {},
            )
            database = dying_database(url, before=before)
            world.evaluator(tell=messages, database=database).evaluate(claim)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_an_evaluation_that_is_killed_anywhere_has_told_all_or_nothing(
    world: Any, step: int
) -> None:
    world.send(40, output="")
    world.make_due()
    seen = []
    for before in range(0, 1_000, step):
        world.rows("UPDATE tasks SET lease_until = now() - interval '1 s' RETURNING 1")
        claim = world.claim(EvaluationKind.HARD)
        if claim is None:  # it was killed after its commit
            break
        killed = evaluate_and_die(world, claim, before=before)
        [state] = world.rows(STATE)
        seen.append(tuple(state))
        assert tuple(state) in {NOTHING, EVERYTHING}, (before, state)
        if not killed or tuple(state) == EVERYTHING:
            break
    print(f"{len(seen)} kills, each before another statement")
    assert len(seen) > 40 / step
    assert seen[:-1] == [NOTHING] * (len(seen) - 1)
    assert seen[-1] == EVERYTHING
    # and once more from what is stored: the same verdict tells nothing twice
    world.make_due()
    again = world.claim(EvaluationKind.HARD)
    assert again is not None
    assert not evaluate_and_die(world, again, before=10_000)
    [state] = world.rows(STATE)
    assert (state.incidents, state.messages) == (1, len(CHANNELS))
