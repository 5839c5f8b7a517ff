"""What a team's transaction sees, and that it is over with the transaction."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from monitor.domain import Scope
from monitor.store import roles, schema, teams
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.people.keys import may_send_for
from monitor.store.registry import adapters, versions
from monitor.store.tables.columns import metadata

FACTS: Mapping[str, Mapping[str, Any]] = {
    "support": {"owner": "care", "labels": {"team": "a", "owner": "a label that says nothing"}},
    "refunds": {"owner": "care", "tier": "gold", "labels": {"team": "b"}},
    'say "hi", {x}': {"owner": None, "labels": {"team": "a"}},
    "billing": {"tier": "gold"},
}
VALUES = ("support", "refunds", 'say "hi", {x}', "care", "", "gold", "standard", "a", "b")
MATCHES = st.dictionaries(
    st.sampled_from(["adapter", "owner", "tier", "team", "no such label"]),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.begin() as tx:
        for name, facts in FACTS.items():
            made = adapters.put(tx, name=name, **facts)
            versions.put(tx, adapter=made, name="v1", model=f"{name}@v1")
    return database


@pytest.fixture(autouse=True)
def of_nobody() -> Iterator[None]:
    """What a test lets itself see ends with it."""
    with teams.unbound():
        yield


def _names(database: Database) -> set[str]:
    return {one.name for one in database.run(adapters.fetch_all)}


def test_every_table_is_shown_by_rows_or_not_at_all() -> None:
    """Whoever adds a table says which rows of it a team sees."""
    assert set(metadata.tables) == set(teams.ROWS) | teams.UNSEEN


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(match=MATCHES)
def test_a_team_is_exactly_those_whom_its_key_may_send_for(
    filled: Database, match: dict[str, list[str]]
) -> None:
    known = filled.run(adapters.fetch_all)
    with teams.unbound():
        teams.see(match)
        seen = _names(filled)
        of_versions = {one.adapter for one in filled.run(versions.fetch_all)}
    assert seen == {one.name for one in known if may_send_for(match, one.facts)}
    assert of_versions == seen


def test_the_restriction_ends_with_the_transaction_also_for_prepared_statements(
    database_url: str, filled: Database
) -> None:
    """PostgreSQL plans a prepared statement anew when names lead elsewhere."""
    single = Database(
        make_url(database_url)
        .set(database=filled.engine.url.database)
        .render_as_string(hide_password=False),
        pool_size=1,
    )
    for _ in range(10):
        assert _names(single) == set(FACTS)
        with teams.unbound():
            teams.see({"adapter": ["support"]})
            assert _names(single) == {"support"}
    single.close()


def test_what_a_team_does_not_see_is_not_found(filled: Database) -> None:
    filled.run(lambda tx: keys.create(tx, name="ci", scopes=[Scope.READ]))
    teams.see({"adapter": ["support"]})
    with pytest.raises(sa.exc.ProgrammingError, match='relation "keys" does not exist'):
        filled.run(keys.fetch_all)
    with filled.begin() as tx:
        rows = sa.select(sa.func.count()).select_from(metadata.tables["adapters"])
        assert tx.execute(rows).scalar_one() == 1


def test_inside_a_transaction_numbers_of_the_whole_fleet_can_be_read(filled: Database) -> None:
    teams.see({"adapter": ["support"]})
    with filled.begin() as tx:
        with teams.whole(tx):
            assert len(adapters.fetch_all(tx)) == len(FACTS)
        assert len(adapters.fetch_all(tx)) == 1


def test_it_is_asked_whose_something_is_without_being_restricted(filled: Database) -> None:
    with filled.begin() as tx:
        assert teams.sees(tx, {"owner": ["care"]}, {"adapter": "refunds"})
        assert not teams.sees(tx, {"owner": ["care"]}, {"adapter": "billing"})
        assert not teams.sees(tx, {"owner": ["care"]}, {"adapter": "refunds", "incident": 1})
        assert len(adapters.fetch_all(tx)) == len(FACTS)


def test_views_are_made_once_and_anew_where_they_differ(filled: Database) -> None:
    made = sa.text("SELECT oid FROM pg_class WHERE oid = 'public_team.adapters'::regclass")
    with filled.begin() as tx:
        before = tx.execute(made).scalar_one()
        assert teams.ensure(tx)
        assert tx.execute(made).scalar_one() == before
        tx.execute(sa.text("COMMENT ON SCHEMA public_team IS 'of another release'"))
    schema.migrate(filled)
    with filled.begin() as tx:
        assert tx.execute(made).scalar_one() != before
        assert teams.ready(tx)


def test_without_the_right_to_make_a_schema_there_are_no_keys_of_teams(filled: Database) -> None:
    with filled.begin() as tx:
        teams.drop(tx)
        assert not teams.ready(tx)
        with pytest.raises(ValueError, match="no views for teams"):
            keys.create(tx, name="care", scopes=[Scope.READ], match={"owner": ["care"]})
        keys.create(tx, name="care", scopes=[Scope.INGEST], match={"owner": ["care"]})
        with pytest.raises(ValueError, match="may administer"):
            keys.create(tx, name="care", scopes=[Scope.ADMIN], match={"owner": ["care"]})


def test_the_services_role_reads_through_them(database_url: str, filled: Database) -> None:
    role = f"service_{secrets.token_hex(4)}"
    with filled.begin() as tx:
        tx.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    try:
        schema.migrate(filled, service=role)
        url = make_url(database_url).set(
            username=role,
            password="x",  # noqa: S106 (a role that lives for one test)
            database=filled.engine.url.database,
        )
        served = Database(url.render_as_string(hide_password=False))
        with teams.unbound():
            teams.see({"tier": ["gold"]})
            assert _names(served) == {"refunds", "billing"}
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied for view"):
                served.run(lambda tx: adapters.put(tx, name="refunds", owner="travel"))
        with filled.begin() as tx:
            assert not roles.lacking(tx, role)
            tx.execute(sa.text("COMMENT ON SCHEMA public_team IS 'of another release'"))
            teams.ensure(tx)
            assert roles.lacking(tx, role), "new views have to be granted"
        served.close()
    finally:
        with filled.begin() as tx:
            tx.execute(sa.text(f"DROP OWNED BY {role}"))
            tx.execute(sa.text(f"DROP ROLE {role}"))
