"""An engine's change is one matter, through the evaluator, the store and the outbox."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alerts.delivery import Delivered
from alerts.matching import parse_matcher
from alerts.message import Alert
from alerts.types import Blame, VerdictKind
from monitor.domain import VerdictSeverity, Version
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.store.incidents import deliveries, fleet_incidents, incidents
from tests.probed_fleet import HOUR, Fleet
from tests.toy_models import Toys

NAMES = tuple(f"adapter-{number}" for number in range(8))
OWN = "support@v7"


class Nowhere:
    """Messages stay in the outbox."""

    def deliver(self, alert: Alert, message_id: str) -> Delivered:
        raise AssertionError(f"{message_id} was sent: {alert.summary}")


class Told(Fleet):
    """A fleet whose messages are written to a real outbox for two channels."""

    def __init__(self, world: Any, via: Any) -> None:
        super().__init__(world, via)
        channels = [
            ConfiguredChannel(name=name, channel=Nowhere(), matcher=parse_matcher(match))
            for name, match in (("all", {}), ("oncall", {"severity": "page"}))
        ]
        tell = Messages(channels=channels, preview=lambda *_, **__: None, doubts=lambda *_: {})
        self.evaluator = replace(self.evaluator, tell=tell)

    def messages(self) -> list[tuple[str, str, str, str]]:
        """Channel, whom it is about, what happened and how urgent it is; the first first."""
        rows = self.world.database.run(lambda tx: deliveries.newest(tx, limit=500))
        alerts = [(row.channel, row.alert) for row in rows[::-1]]
        return [(c, a["adapter"], a["status"], a["severity"]) for c, a in alerts]

    def incidents(self, *, open_only: bool = True) -> list[Any]:
        return list(
            self.world.database.run(
                lambda tx: incidents.incident_list(tx, open_only=open_only, limit=500)
            )
        )

    def members(self) -> list[str]:
        [row] = [one for one in self.incidents(open_only=False) if one.base_model is not None]
        found = self.world.database.run(lambda tx: fleet_incidents.members(tx, row.id))
        return [member.adapter for member in found if member.left_at is None]


Make = Callable[..., tuple[Told, list[Version]]]


@pytest.fixture
def fleet(world: Any) -> Make:
    def make(*, base: bool = True) -> tuple[Told, list[Version]]:
        names = (OWN, *NAMES)
        given = Toys(
            weights={"base": "base", **{name: name for name in names}},
            parents=dict.fromkeys(names, "base"),
        )
        if not base:
            given.base_of = lambda _target: None  # type: ignore[method-assign, assignment]
            given.siblings_of = lambda _target: ()  # type: ignore[method-assign, assignment]
        made = Told(world, given)
        made.probe()
        versions = [made.register(name) for name in NAMES]
        for version in versions:
            made.probe(version)
        assert made.messages() == []
        made.age(6 * HOUR)
        return made, [world.version, *versions]

    return make


def test_an_upgrade_that_moves_everything_by_two_percent_is_one_message(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.engine_shift = 0.02
    for version in versions:
        made.probe(version)
    assert made.messages() == [("all", "", "started", "ticket")]
    [incident] = made.incidents()
    assert (incident.base_model, incident.adapter, incident.blame) == ("", None, Blame.BASE)
    assert incident.severity is VerdictSeverity.TICKET
    assert len(made.members()) == len(versions)
    assert "9 of 9 adapters on one base model" in incident.summary
    # the transitions of each are stored all the same
    [count] = made.world.rows("SELECT count(*) FROM transitions WHERE after = 'drifting'")[0]
    assert count == len(versions)

    made.toys.engine_shift = 0.0
    for _ in range(2):  # two unchanged probes in a row clear a finding
        made.age(6 * HOUR)
        for version in versions:
            made.probe(version)
    assert made.incidents() == []
    assert made.messages()[1:] == [("all", "", "recovered", "ticket")]


def test_what_is_broken_by_itself_pages_by_itself_once(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.engine_shift = 0.02
    for version in versions:
        made.probe(version)
    made.toys.shift["adapter-3", ""] = 0.3
    made.age(6 * HOUR)
    broken = next(version for version in versions if version.adapter == "adapter-3")
    for _ in range(2):
        made.probe(broken)
    assert made.verdict(broken).blame is Blame.ADAPTER
    assert "a change of its own" in made.verdict(broken).reason
    assert made.messages()[1:] == [
        ("all", "adapter-3", "started", "page"),
        ("oncall", "adapter-3", "started", "page"),
    ]
    assert "adapter-3" not in made.members()
    assert made.verdict(versions[0]).blame is Blame.BASE


def test_tickets_told_before_the_cause_was_known_become_part_of_it(fleet: Make) -> None:
    """Without a base or siblings to ask, the second of 9 adapters makes it common."""
    made, versions = fleet(base=False)
    made.toys.engine_shift = 0.02
    made.probe(versions[0])
    assert made.messages() == [("all", "support", "started", "ticket")]
    made.probe(versions[1])
    assert made.messages()[1:] == [("all", "", "started", "ticket")]
    made.age(6 * HOUR)
    made.probe(versions[0])
    assert made.messages()[2:] == [("all", "support", "recovered", "ticket")]
    closed = next(one for one in made.incidents(open_only=False) if one.adapter == "support")
    [common] = made.incidents()
    assert closed.part_of == common.id
    assert closed.closing == "part_of_fleet"


def test_adapters_that_break_together_are_one_page(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.engine_shift = 0.3
    for version in versions:
        made.probe(version)
    assert {made.verdict(version).kind for version in versions} == {VerdictKind.CRITICAL}
    assert made.messages() == [("all", "", "started", "page"), ("oncall", "", "started", "page")]


def test_a_page_that_is_out_stays_the_only_one(fleet: Make) -> None:
    made, versions = fleet(base=False)
    made.toys.engine_shift = 0.3
    for version in versions:
        made.probe(version)
    pages = [told for told in made.messages() if told[3] == "page"]
    assert pages == [
        ("all", "support", "started", "page"),
        ("oncall", "support", "started", "page"),
    ]
    # whoever was paged hears that it is the fleet's, without being paged again
    assert sorted(set(made.messages()) - set(pages)) == [
        ("all", "", "started", "ticket"),
        ("oncall", "", "started", "ticket"),
    ]
