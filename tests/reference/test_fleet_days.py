"""What a new adapter takes of the days of the fleet's others."""

from detectors.day_effect import ASSUMED, DayEffect, Origin
from monitor.domain import AdapterId
from monitor.reference import fleet_days
from monitor.store.database import Database
from monitor.store.references import references
from monitor.store.references.references import BuiltReference, ReferenceSource
from monitor.store.registry import adapters, versions


def approved(
    database: Database, name: str, shown: dict[str, float], *, by: str | None = "coverage"
) -> AdapterId:
    """An adapter with one more ready reference, whose builder noted this of its days."""
    with database.begin() as tx:
        adapter = adapters.put(tx, name=name)
        version = versions.put(tx, adapter=adapter, name="v1", model=f"{name}@v1")
        references.create(
            tx,
            version_id=version.id,
            source=ReferenceSource.UPLOAD,
            cause="test",
            created_by="test",
            request={},
        )
        claim = references.claim_building(tx)
        assert claim is not None
        outcome = BuiltReference(
            n_training=0,
            n_baseline=1_000,
            span_days=14.0,
            encoder=None,
            strata=(),
            hourly_rate=3.0,
            approved_by=by,
            notes={fleet_days.NOTE: shown},
        )
        references.ready(tx, claim, outcome)
        return adapter.id


def taken(database: Database, besides: AdapterId) -> DayEffect:
    with database.begin() as tx:
        return fleet_days.read(tx, besides=besides, assumed=ASSUMED)["logit_ks"]


def test_five_others_with_an_approved_reference_say_how_days_differ(database: Database) -> None:
    own = approved(database, "new", {"logit_ks": 0.01}, by=None)
    for number in range(4):
        approved(database, f"other-{number}", {"logit_ks": 0.08})
    approved(database, "short", {"logit_ks": 0.01}, by=None)
    approved(database, "elsewhere", {"latency": 0.01})
    assert taken(database, own) == ASSUMED
    approved(database, "other-4", {"logit_ks": 0.18})
    approved(database, "other-4", {"logit_ks": 0.11})  # its newest counts
    assert taken(database, own) == DayEffect(sd=0.11, origin=Origin.FLEET)
    with database.begin() as tx:
        assert fleet_days.read(tx, besides=own, assumed=ASSUMED)["latency"] == ASSUMED
