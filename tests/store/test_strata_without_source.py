"""What 0021 makes of settings strata that earlier releases wrote."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic import command

from monitor.store import schema
from monitor.store.database import Database

RECORD = (
    "INSERT INTO records (id, adapter_id, at, context_id, sample_prob)"
    " VALUES (:id, 1, '2020-01-24 12:00Z', :context, 1)"
)
CONTEXTS = {
    1: ("push", "source=push"),
    2: ("push", "source=push temperature=0.7 max_tokens<=64"),
    3: ("gateway", "source=gateway temperature=0.7 max_tokens<=64"),
    4: ("my own app", "source=my own app temperature=1 top_p=1 logprobs=raw_logprobs"),
    5: ("push", "source=push temperature=1"),
    6: ("push", "source=push temperature=1.5 top_p=0.1 logprobs=processed_logprobs"),
}


@pytest.fixture
def before(database_url: str) -> Iterator[Database]:
    """A database as the release before left it."""
    opened = Database(database_url)
    schema.migrate(opened)
    _move(opened, "downgrade", "0020")
    with opened.begin() as tx:
        tx.execute(
            sa.text(
                "CREATE TABLE records_old PARTITION OF records"
                " FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
            )
        )
        for key, (source, stratum) in CONTEXTS.items():
            tx.execute(
                sa.text(
                    "INSERT INTO contexts (id, source, stratum) OVERRIDING SYSTEM VALUE"
                    " VALUES (:id, :source, :stratum)"
                ),
                {"id": key, "source": source, "stratum": stratum},
            )
            tx.execute(sa.text(RECORD), {"id": f"r{key}", "context": key})
        tx.execute(sa.text("INSERT INTO adapters (name) VALUES ('support')"))
        tx.execute(
            sa.text("INSERT INTO versions (adapter_id, name, model) VALUES (1, 'v1', 'support@v1')")
        )
        tx.execute(
            sa.text(
                'INSERT INTO "references" (version_id, generation, state, source, cause,'
                " created_by, strata) VALUES (1, 1, 'ready', 'upload', 'x', 'x', :strata)"
            ),
            {"strata": [CONTEXTS[3][1], CONTEXTS[2][1], CONTEXTS[5][1], CONTEXTS[1][1]]},
        )
    yield opened
    opened.close()


def _move(database: Database, way: str, to: str) -> None:
    with database.begin() as tx:
        getattr(command, way)(schema.alembic_config(tx), to)


def _records(database: Database) -> dict[str, str]:
    query = "SELECT r.id, c.stratum FROM records r JOIN contexts c ON c.id = r.context_id"
    with database.begin() as tx:
        return {row.id: row.stratum for row in tx.execute(sa.text(query))}


def _reference(database: Database) -> list[str]:
    with database.begin() as tx:
        return list(tx.execute(sa.text('SELECT strata FROM "references"')).scalar_one())


def test_old_records_and_references_are_comparable_with_new_ones(before: Database) -> None:
    _move(before, "upgrade", "head")
    assert _records(before) == {
        "r1": "",
        "r2": "temperature=0.7 max_tokens<=64",
        "r3": "temperature=0.7 max_tokens<=64",
        "r4": "",
        "r5": "",
        "r6": "temperature=1.5 top_p=0.1 logprobs=processed_logprobs",
    }
    assert _reference(before) == ["temperature=0.7 max_tokens<=64", ""]


def test_the_release_before_reads_what_it_is_given_back(before: Database) -> None:
    _move(before, "upgrade", "head")
    _move(before, "downgrade", "0020")
    found = _records(before)
    assert found["r3"] == CONTEXTS[3][1]
    assert found["r1"] == "source=push"
    assert found["r4"] == "source=my own app"
    assert {found[name] for name in ("r1", "r2", "r3", "r4", "r5")} <= set(_reference(before))
