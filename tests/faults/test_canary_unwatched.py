"""Everything of Driftline is killed while a version is on trial: its share ends by itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.domain import Arm, ArmKind, Route
from monitor.routing.arms import effective
from tests.inbox import Inbox
from tests.service import Service, Talk, running, until

CHANGES = {
    "service.mode": "auto",
    "canary.interval": "1s",
    "canary.lag": "100ms",
    "canary.blind_max": "4s",
    "schedule.hard_interval": "10s",
    "schedule.live_interval": "10s",
}


def route_of(service: Service) -> Route:
    """The last good route, as whoever routes keeps it."""
    body = service.get("/v1/routes/support")
    return Route(
        adapter="support",
        generation=body["generation"],
        arms=tuple(
            Arm(arm=ArmKind(a["arm"]), version=a["version"], model=a["model"], weight=a["weight"])
            for a in body["arms"]
        ),
        reason=body["reason"],
        since=datetime.fromisoformat(body["since"]),
        valid_until=datetime.fromisoformat(body["valid_until"]) if body["valid_until"] else None,
    )


def shares(route: Route) -> dict[str, float]:
    return {arm.version: arm.weight for arm in route.arms}


def test_a_canary_that_nobody_watches_goes_to_weight_0_and_stays_there(tmp_path: Path) -> None:
    with Inbox() as inbox, running(tmp_path, inbox=inbox, changes=CHANGES) as service:
        for version in ("v7", "v8"):
            service.register("support", version)
        body = {"adapter": "support", "version": "v8", "unchecked": ["served"]}
        made = service.call("POST", "/v1/canaries", json=body).json()
        until(lambda: shares(route_of(service)).get("v8"), "the first step")
        first = route_of(service)
        assert first.valid_until is not None
        # looked at each second: its end is put off for as long as somebody sees it
        until(lambda: route_of(service).generation > first.generation, "a renewal")
        service.kill_postgres()
        service.kill()
        kept = first  # a router that missed the renewal is the worst case
        assert kept.valid_until is not None
        assert kept.valid_until - kept.since == timedelta(seconds=4)
        assert shares(effective(kept, kept.valid_until)) == {"v7": 1.0, "v8": 0.0}
        until(lambda: datetime.now(tz=UTC) > kept.valid_until + timedelta(seconds=4), "its end")
        service.start()
        place = f"/v1/canaries/{made['canary']}"
        until(lambda: service.get(place)["phase"] == "rolled_back", "its rollback")
        assert shares(route_of(service)) == {"v7": 1.0}
        found = service.get(place)
        assert "the route expired" in found["reason"]
        assert max(look["weight"] for look in found["looks"]) == 0.05
        until(lambda: inbox.messages, "somebody is told")
        assert [message.said for message in inbox.messages] == [("support", "started", "ticket")]
        # a person lets it try again, and this time it is seen to be worse
        assert service.call("POST", f"{place}/resume", json={}).is_success
        until(lambda: shares(route_of(service)).get("v8"), "the first step again")
        stable, trial = Talk("support", seed=1), Talk("support", seed=2, sent=100_000)

        def seen() -> bool:
            service.send(stable.records(60, version="v7", arm="stable"))
            service.send(trial.records(60, version="v8", arm="canary", shift=4.0))
            return bool(service.get(place)["phase"] == "rolled_back")

        until(seen, "its rollback by what it answers")
        assert "mean_nll" in service.get(place)["reason"]
        assert shares(route_of(service)) == {"v7": 1.0}
