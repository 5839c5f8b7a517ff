"""A detector that keeps raising is quarantined, and somebody is told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from alerts.channels import open_channel
from alerts.matching import Matcher
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.evaluate import Messages
from monitor.outbox import ConfiguredChannel

Run = Callable[..., Any]


def messages() -> Messages:
    journal = ConfiguredChannel(
        name="journal",
        channel=open_channel("log", {}, client=OutgoingClient(OutgoingPolicy())),
        matcher=Matcher(),
    )
    return Messages(channels=[journal], preview=lambda *_, **__: None, doubt=lambda *_: None)


def test_five_errors_in_a_row_open_one_error_ticket_and_drift_detection_goes_on(
    world: Any,
) -> None:
    evaluator = world.evaluator(tell=messages())

    def evaluate() -> None:
        world.make_due()
        evaluator.evaluate(world.claim())

    world.send(60)
    evaluate()
    for _ in range(7):
        # a state of another shape, as after a broken migration
        world.rows(
            "UPDATE process_states SET body = (SELECT body FROM process_states WHERE"
            " detector = 'missing') WHERE detector = 'logit_ks' RETURNING 1"
        )
        world.send(60)
        evaluate()
    memory = world.rows("SELECT memory FROM verdicts")[0].memory
    assert memory["failures"] == {"logit_ks": 5}
    incidents = world.rows("SELECT kind, severity, phase FROM incidents")
    assert [(row.kind, row.severity, row.phase) for row in incidents] == [
        ("error", "ticket", "firing")
    ]
    alerts = [row.alert for row in world.rows("SELECT alert FROM outbox")]
    assert len(alerts) == 1
    assert alerts[0]["reason"].startswith("logit_ks: 5 errors in a row")
    assert world.rows("SELECT kind FROM verdicts")[0].kind == "stable"


def test_evaluations_that_fail_as_a_whole_open_an_error_ticket_until_one_succeeds(
    world: Any,
) -> None:
    evaluator = world.evaluator(tell=messages())
    world.send(60)
    world.make_due()
    claim = world.claim()
    evaluator.report_broken(replace(claim, failures=4), RuntimeError("a secret prompt"))
    evaluator.report_broken(replace(claim, failures=5), RuntimeError("a secret prompt"))
    alerts = [row.alert for row in world.rows("SELECT alert FROM outbox ORDER BY seq")]
    assert [(alert["kind"], alert["status"]) for alert in alerts] == [("error", "started")]
    assert alerts[0]["reason"] == "live evaluation failed 5 times in a row: RuntimeError"
    evaluator.evaluate(claim)
    alerts = [row.alert for row in world.rows("SELECT alert FROM outbox ORDER BY seq")]
    assert [alert["status"] for alert in alerts] == ["started", "recovered"]


def test_a_move_of_traffic_in_doubt_pages_once_and_ends_when_it_is_settled(world: Any) -> None:
    doubts = ["fallback (action 1): the router says nothing, not the route"] * 3 + [None] * 2
    told = iter(doubts)
    evaluator = world.evaluator(tell=replace(messages(), doubt=lambda *_: next(told)))
    for _ in doubts:
        world.send(60)
        world.make_due()
        evaluator.evaluate(world.claim())
    alerts = [row.alert for row in world.rows("SELECT alert FROM outbox ORDER BY seq")]
    assert [(alert["kind"], alert["severity"], alert["status"]) for alert in alerts] == [
        ("routing", "page", "started"),
        ("routing", "page", "recovered"),
    ]
    assert alerts[0]["reason"] == doubts[0]
    assert alerts[0]["summary"].endswith("a move of its traffic is not known to have worked")
