"""A detector that keeps raising is quarantined, and somebody is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from alerts.channels import open_channel
from alerts.matching import Matcher
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import ArmKind, Version, VersionId
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.registry import adapters, versions
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest

Run = Callable[..., Any]


def messages() -> Messages:
    journal = ConfiguredChannel(
        name="journal",
        channel=open_channel("log", {}, client=OutgoingClient(OutgoingPolicy())),
        matcher=Matcher(),
    )
    return Messages(channels=[journal], preview=lambda *_, **__: None, doubts=lambda *_: {})


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
    assert alerts[0]["reason"].startswith("the check of certainty of answers could not run 5 times")
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


def test_what_was_claimed_before_its_version_went_out_of_service_opens_nothing(
    world: Any,
) -> None:
    world.make_due()
    claim = world.claim()
    now = datetime.now(tz=UTC)
    tell = messages()

    def route(tx: Connection) -> None:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v6", model="support@v6")
        for generation, (name, ago) in enumerate((("v7", 2), ("v6", 1))):
            table.put(
                tx,
                "support",
                arms=[ArmRequest(arm=ArmKind.STABLE, version=name, weight=1.0)],
                expected_generation=generation,
                reason="by hand",
                actor="ann",
                now=now - ago * tell.out_of_service_after,
            )

    world.database.run(route)
    early = replace(claim, failures=5, now=now - timedelta(minutes=1))
    world.evaluator(tell=tell).report_broken(early, RuntimeError())
    assert world.rows("SELECT kind FROM incidents") == []
    # not so where it may answer for longer
    tell = replace(tell, out_of_service_after=timedelta(hours=1))
    world.evaluator(tell=tell).report_broken(early, RuntimeError())
    assert [row.kind for row in world.rows("SELECT kind FROM incidents")] == ["error"]


def test_a_move_of_traffic_in_doubt_pages_once_and_ends_when_it_is_settled(world: Any) -> None:
    why = (
        "the move of the traffic of v7 is not confirmed: the router has no route;"
        " Driftline goes on telling the router"
    )
    said = [why] * 3 + [None] * 2
    told = iter(said)

    def doubts(_tx: Connection, of: Sequence[Version]) -> dict[VersionId, str]:
        return {one.id: why for one in of if (why := next(told)) is not None}

    evaluator = world.evaluator(tell=replace(messages(), doubts=doubts))
    for _ in said:
        world.send(60)
        world.make_due()
        evaluator.evaluate(world.claim())
    alerts = [row.alert for row in world.rows("SELECT alert FROM outbox ORDER BY seq")]
    assert [(alert["kind"], alert["severity"], alert["status"]) for alert in alerts] == [
        ("routing", "page", "started"),
        ("routing", "page", "recovered"),
    ]
    assert alerts[0]["reason"] == said[0]
    assert alerts[0]["summary"].endswith("a route change is not confirmed")
