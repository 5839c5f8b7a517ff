from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain import Scope
from monitor.store.database import Database
from monitor.store.people import keys

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_key_is_found_by_its_text_and_by_nothing_else(database: Database) -> None:
    key, text = database.run(lambda tx: keys.create(tx, name="ci", scopes=[Scope.INGEST]))
    with database.begin() as tx:
        found = keys.verify(tx, text, now=NOW)
        assert found is not None
        assert found.id == key.id
        assert found.scopes == {Scope.INGEST}
        flipped = text[:-1] + ("A" if text[-1] != "A" else "B")
        unknown = f"dl_{'0' * 12}_{text[-43:]}"
        for wrong in [flipped, unknown, text + "=", text[3:], "", "dl__", text.upper()]:
            assert keys.verify(tx, wrong, now=NOW) is None


def test_the_secret_is_nowhere_in_the_table(database: Database) -> None:
    _, text = database.run(lambda tx: keys.create(tx, name="ci", scopes=[Scope.READ]))
    with database.begin() as tx:
        row = tx.execute(sa.text("SELECT keys::text FROM keys")).scalar_one()
    assert text[-43:] not in row


def test_each_text_has_256_random_bits(database: Database) -> None:
    with database.begin() as tx:
        texts = {keys.create(tx, name="ci", scopes=[Scope.READ])[1] for _ in range(20)}
    assert len(texts) == 20
    assert {len(text) for text in texts} == {len("dl_") + 12 + 1 + 43}


def test_an_expired_or_revoked_key_opens_nothing(database: Database) -> None:
    with database.begin() as tx:
        _, brief = keys.create(
            tx, name="brief", scopes=[Scope.READ], expires_at=NOW + timedelta(hours=1)
        )
        key, text = keys.create(tx, name="gone", scopes=[Scope.READ])
        assert keys.verify(tx, brief, now=NOW) is not None
        assert keys.verify(tx, brief, now=NOW + timedelta(hours=1)) is None
        assert keys.revoke(tx, key.id, now=NOW)
        assert keys.verify(tx, text, now=NOW) is None
        assert not keys.revoke(tx, key.id, now=NOW)


def test_a_use_is_noted_at_most_once_a_minute(database: Database) -> None:
    _, text = database.run(lambda tx: keys.create(tx, name="ci", scopes=[Scope.READ]))

    def last_used(now: datetime) -> datetime | None:
        with database.begin() as tx:
            keys.verify(tx, text, now=now)
            return keys.fetch_all(tx)[0].last_used_at

    assert last_used(NOW) == NOW
    assert last_used(NOW + timedelta(seconds=59)) == NOW
    assert last_used(NOW + timedelta(seconds=61)) == NOW + timedelta(seconds=61)


@pytest.mark.parametrize("scope", list(Scope))
def test_admin_may_do_everything_and_others_only_their_own(
    database: Database, scope: Scope
) -> None:
    with database.begin() as tx:
        admin, _ = keys.create(tx, name="root", scopes=[Scope.ADMIN])
        own, _ = keys.create(tx, name="own", scopes=[scope])
    assert keys.permits(admin, scope)
    assert {other for other in Scope if keys.permits(own, other)} == (
        set(Scope) if scope is Scope.ADMIN else {scope}
    )


def test_a_text_made_elsewhere_is_a_key_until_it_is_revoked(database: Database) -> None:
    text = f"dl_0123456789ab_{'x' * 43}"
    like: dict[str, Any] = {
        "name": "sender",
        "scopes": [Scope.INGEST],
        "match": {"adapter": ["tax"]},
        "now": NOW,
    }
    with database.begin() as tx:
        first, is_new = keys.adopt(tx, text, **like)
        assert is_new
        assert keys.adopt(tx, text, **like) == (first, False)
        assert keys.verify(tx, text, now=NOW) is not None
        others: tuple[dict[str, Any], ...] = (
            {"text": text[:-1] + "y"},
            {"match": {}},
            {"scopes": [Scope.READ], "match": {}},
        )
        for other in others:
            with pytest.raises(ValueError, match="is another one"):
                keys.adopt(tx, **({"text": text} | like | other))
        for none in ("", "dl_x", text + "x"):
            with pytest.raises(ValueError, match="a key is dl_"):
                keys.adopt(tx, none, **like)
        keys.revoke(tx, first.id, now=NOW)
        with pytest.raises(ValueError, match="was revoked"):
            keys.adopt(tx, text, **like)


def test_a_key_taken_over_expires_as_others_do(database: Database) -> None:
    text = f"dl_0123456789ab_{'x' * 43}"
    like: dict[str, Any] = {
        "name": "gateway",
        "scopes": [Scope.READ],
        "expires_at": NOW + timedelta(days=1),
    }
    with database.begin() as tx:
        keys.adopt(tx, text, **like, now=NOW)
        with pytest.raises(ValueError, match="has expired"):
            keys.adopt(tx, text, **like, now=NOW + timedelta(days=2))


def test_a_key_without_scopes_is_refused(database: Database) -> None:
    with database.begin() as tx, pytest.raises(ValueError, match="at least one scope"):
        keys.create(tx, name="none", scopes=[])
