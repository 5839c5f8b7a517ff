from typing import Any

import pytest

from monitor.domain import AdapterId, Mode, VersionId
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.errors import Conflict, NotFound
from monitor.store.registry import adapters, versions


def test_put_replaces_all_that_is_said_about_an_adapter(database: Database) -> None:
    with database.begin() as tx:
        first = adapters.put(
            tx, name="support", owner="ann", labels={"team": "care"}, mode=Mode.AUTO
        )
        again = adapters.put(tx, name="support", owner="bob")
        assert again.id == first.id
        assert (again.owner, again.labels, again.mode) == ("bob", {}, None)
        assert adapters.fetch(tx, "support") == again
        assert adapters.fetch(tx, "travel") is None
        assert [adapter.name for adapter in adapters.fetch_all(tx)] == ["support"]
        with pytest.raises(NotFound):
            adapters.fetch_by_id(tx, AdapterId(999))


def test_the_same_version_again_changes_only_its_metadata(database: Database) -> None:
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        first = versions.put(tx, adapter=adapter, name="v7", model="support@v7")
        again = versions.put(
            tx,
            adapter=adapter,
            name="v7",
            model="support@v7",
            sha256="ab" * 32,
            metadata={"precision": "bf16"},
        )
        assert again.id == first.id
        assert again.sha256 == "ab" * 32
        assert again.metadata == {"precision": "bf16"}
        assert again.label == "support@v7"
        assert versions.fetch(tx, adapter="support", name="v7") == again
        assert versions.of_adapter(tx, adapter.id) == [again]
        assert versions.fetch_all(tx) == [again]


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("model", "support@v8"),
        ("sha256", "cd" * 32),
        ("uri", "s3://other"),
        ("base_model", "other"),
        ("parent", "v5"),
    ],
)
def test_other_weights_under_a_registered_name_are_refused(
    database: Database, field: str, other: str
) -> None:
    said: dict[str, Any] = {
        "model": "support@v7",
        "sha256": "ab" * 32,
        "uri": "s3://a",
        "base_model": "llama",
        "parent": "v6",
    }
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v7", **said)
        with pytest.raises(Conflict, match=f"support@v7 is registered with {field}"):
            versions.put(tx, adapter=adapter, name="v7", **(said | {field: other}))


def test_what_an_engine_told_gives_way_to_the_first_registration_by_hand(
    database: Database,
) -> None:
    told: dict[str, Any] = {"model": "support@v7", "metadata": {versions.FOUND_BY: "engine"}}
    with database.begin() as tx:
        adapter = adapters.put(tx, name="support")
        versions.put(tx, adapter=adapter, name="v7", uri="/mnt/v7", base_model="llama", **told)
        with pytest.raises(Conflict, match="registered with model"):
            versions.put(tx, adapter=adapter, name="v7", model="other")
        own = versions.put(
            tx,
            adapter=adapter,
            name="v7",
            model="support@v7",
            uri="s3://adapters/v7",
            base_model="meta/llama",
            metadata={"precision": "bf16"},
        )
        assert (own.uri, own.base_model) == ("s3://adapters/v7", "meta/llama")
        assert own.metadata == {"precision": "bf16"}
        assert versions.put(tx, adapter=adapter, name="v7", **told) == own
        with pytest.raises(Conflict, match="registered with uri"):
            versions.put(tx, adapter=adapter, name="v7", model="support@v7", uri="/mnt/v7")


def test_an_unknown_version_is_not_found(database: Database) -> None:
    with database.begin() as tx:
        assert versions.fetch(tx, adapter="support", name="v7") is None
        with pytest.raises(NotFound):
            versions.fetch_by_id(tx, VersionId(999))


def test_the_audit_is_paged_newest_first(database: Database) -> None:
    with database.begin() as tx:
        ids = [
            audit.append(tx, actor="ann", act="put", subject=f"route {n}", details={"n": n})
            for n in range(3)
        ]
        page = audit.newest(tx, limit=2)
        assert [entry.id for entry in page] == [ids[2], ids[1]]
        assert [entry.details for entry in audit.newest(tx, before=page[-1].id)] == [{"n": 0}]
