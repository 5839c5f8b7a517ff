"""The service's role can do what the service does, and cannot undo what was written down."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from monitor.store import audit, partitions, roles, schema
from monitor.store.database import Database

FORBIDDEN = [
    "UPDATE audit SET actor = 'nobody'",
    "DELETE FROM audit",
    "TRUNCATE audit",
    "TRUNCATE records",
    "DROP TABLE audit",
    "DROP TABLE records",
    "ALTER TABLE audit DISABLE TRIGGER ALL",
    "ALTER TABLE records ADD COLUMN x int",
    "CREATE TABLE other (x int)",
    "DROP TRIGGER audit_is_append_only ON audit",
    "SET session_replication_role = replica",
    "COPY audit TO PROGRAM 'true'",
    "CREATE ROLE other",
    "UPDATE alembic_version SET version_num = '0001'",
    "SELECT driftline_drop_day('audit')",
    "SELECT driftline_drop_day('records')",
    "SELECT driftline_make_day('audit', '2031-01-01', '2031-01-02')",
]


@pytest.fixture
def served(database: Database, database_url: str) -> Iterator[Database]:
    """The database of the test, as a role of its own that the owner let in."""
    role = f"service_{secrets.token_hex(4)}"
    with database.begin() as tx:
        tx.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    schema.migrate(database, service=role)
    url = make_url(database_url).set(
        username=role,
        password="x",  # noqa: S106 (a role that lives for one test)
        database=database.engine.url.database,
    )
    opened = Database(url.render_as_string(hide_password=False))
    yield opened
    opened.close()
    with database.begin() as tx:
        tx.execute(sa.text(f"DROP OWNED BY {role}"))
        tx.execute(sa.text(f"DROP ROLE {role}"))


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_service_may_not(served: Database, statement: str) -> None:
    """Before, the service was a superuser, whom none of this was refused."""
    served.run(lambda tx: audit.append(tx, actor="a", act="b", subject="c"))
    with pytest.raises(sa.exc.ProgrammingError) as caught, served.begin() as tx:
        tx.execute(sa.text(statement))
    assert isinstance(caught.value.orig, psycopg.errors.InsufficientPrivilege)
    with served.begin() as tx:
        assert [entry.actor for entry in audit.newest(tx)] == ["a"]


def test_the_service_makes_days_and_drops_them(served: Database) -> None:
    day = datetime(2031, 3, 1, 12, tzinfo=UTC)
    served.run(lambda tx: partitions.ensure(tx, [day.date()]))
    gone = served.run(lambda tx: partitions.drop_expired(tx, now=day + timedelta(days=9999)))
    assert "records_20310301" in gone


def test_the_service_sees_which_server_it_is_on_as_the_owner_does(
    database: Database, served: Database
) -> None:
    """Or no restore or failover would open an epoch of the route table."""
    server = sa.text("SELECT driftline_server()")
    with database.begin() as owner, served.begin() as tx:
        assert tx.execute(server).scalar_one() == owner.execute(server).scalar_one() is not None


def test_a_table_of_its_own_does_not_lead_the_owner_astray(served: Database) -> None:
    """What stands in the session's temporary schema is looked at last."""
    with served.begin() as tx:
        tx.execute(sa.text("CREATE TEMP TABLE records (x int)"))
        tx.execute(sa.text("SELECT driftline_make_day('records', '2031-03-02', '2031-03-03')"))
        parent = tx.execute(
            sa.text(
                "SELECT inhparent::regclass::text FROM pg_inherits"
                " WHERE inhrelid = 'records_20310302'::regclass"
            )
        ).scalar_one()
    assert parent == "public.records"


def test_every_table_has_its_rights_and_granting_again_changes_nothing(
    database: Database, served: Database
) -> None:
    role = str(served.engine.url.username)
    with database.begin() as tx:
        assert not roles.lacking(tx, role)
        roles.grant(tx, role)
        assert not roles.lacking(tx, role)


def test_a_role_that_may_more_is_told_of_in_one_sentence(
    database: Database, served: Database
) -> None:
    role = str(served.engine.url.username)
    assert served.run(roles.excess) is None
    assert "is a superuser" in str(database.run(roles.excess))
    with database.begin() as tx:
        tx.execute(sa.text(f"GRANT UPDATE ON audit TO {role}"))
    told = served.run(roles.excess)
    assert told == (
        f"the database's role {role} may rewrite the audit: the service needs no such right"
    )
    with database.begin() as tx:
        roles.grant(tx, role)
    assert served.run(roles.excess) is None
