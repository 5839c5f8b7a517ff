"""`adapters push` and `pull`: a version's files in a store, under its identity."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.weights import DemoAdapter
from monitor.domain import Scope
from monitor.store.database import Database
from tests.cli.command import Ran, driftline, failed
from tests.serving import Serving, serving

SOUND = DemoAdapter.SUPPORT_V1.path
OTHER = DemoAdapter.SUPPORT_V2.path
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path / "service") as found:
        yield found


def adapters(service: Serving, tmp_path: Path, *words: object, store: str | None = None) -> Ran:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}
    told["DRIFTLINE_ARTIFACTS__STORE"] = str(tmp_path / "store") if store is None else store
    return driftline("adapters", *map(str, words), environ=told, cwd=tmp_path)


def test_a_version_goes_into_the_store_and_comes_back(service: Serving, tmp_path: Path) -> None:
    pushed = adapters(service, tmp_path, "push", "support", "v1", SOUND)
    assert pushed.code == 0, pushed
    assert "support@v1 is registered" in pushed.out
    with service.client(Scope.READ) as client:
        known = client.get("/v1/adapters/support/versions/v1").json()
    assert known["uri"] == f"store:{known['sha256']}"
    assert known["base_model"] == "driftline-demo-base"
    assert f"in the store as {known['sha256']}" in pushed.out

    again = adapters(service, tmp_path, "push", "support", "v1", SOUND)
    assert (again.code, "is registered" in again.out) == (0, False)
    pulled = adapters(service, tmp_path, "pull", "support", "v1", "--into", tmp_path / "back")
    assert pulled.code == 0, pulled
    assert (tmp_path / "back" / WEIGHTS).read_bytes() == (SOUND / WEIGHTS).read_bytes()
    twice = adapters(service, tmp_path, "pull", "support", "v1", "--into", tmp_path / "back")
    failed(twice, "is there already")


def test_the_folder_of_the_registration_is_pushed(service: Serving, tmp_path: Path) -> None:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}
    assert driftline("import", "folder", str(SOUND), "support", "v1", environ=told).code == 0
    pushed = adapters(service, tmp_path, "push", "support", "v1")
    assert pushed.code == 0, pushed
    failed(adapters(service, tmp_path, "push", "support", "v2"), "without a folder: name it")


def test_other_files_than_registered_are_refused_both_ways(
    service: Serving, tmp_path: Path
) -> None:
    assert adapters(service, tmp_path, "push", "support", "v1", SOUND).code == 0
    failed(adapters(service, tmp_path, "push", "support", "v1", OTHER), "is registered")
    (stored,) = (tmp_path / "store").iterdir()
    shutil.copy(OTHER / WEIGHTS, stored / WEIGHTS)
    failed(
        adapters(service, tmp_path, "pull", "support", "v1", "--into", tmp_path / "back"),
        "not what is registered",
    )
    assert not (tmp_path / "back").exists()


def test_what_is_missing_is_named(service: Serving, tmp_path: Path) -> None:
    failed(adapters(service, tmp_path, "push", "support", "v1", SOUND, store=""), "artifacts.store")
    failed(adapters(service, tmp_path, "push", "support", "v1", tmp_path), "adapter_config.json")
    failed(
        adapters(service, tmp_path, "pull", "support", "v1", "--into", tmp_path / "back"),
        "Not Found",
    )
    with service.client(Scope.ADMIN) as client:
        body = {"model": "support@v1"}
        client.put("/v1/adapters/support/versions/v1", json=body).raise_for_status()
    failed(
        adapters(service, tmp_path, "pull", "support", "v1", "--into", tmp_path / "back"),
        "without its identity",
    )
    failed(adapters(service, tmp_path, "push", "support", "v1", SOUND), "no identity is registered")
    failed(
        adapters(service, tmp_path, "push", "support", "v1", SOUND, store="models"),
        "artifacts.store: expected",
    )
