"""What happens to the weights of a version that is registered."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import DemoAdapter
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.finding import Artifacts
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import FilesStore
from monitor.daemon.inspections import NOT_READABLE, inspecting
from monitor.domain import Scope, Version, WeightsState
from monitor.probes.asking import local_folder
from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.process import inspect_apart
from monitor.store.database import Database
from monitor.store.registry import adapters, inspections, versions
from tests.serving import Serving, serving
from tests.weights.folders import layers, write_adapter

SOUND = DemoAdapter.SUPPORT_V1.path
Register = Callable[..., Version]


@pytest.fixture
def register(database: Database) -> Register:
    def make(name: str, uri: str | None, **fields: Any) -> Version:
        with database.begin() as tx:
            adapter = adapters.put(tx, name="support")
            return versions.put(
                tx, adapter=adapter, name=name, model=f"support@{name}", uri=uri, **fields
            )

    return make


def artifacts(folder: Path, **settings: Any) -> Artifacts:
    """What finds adapters' files, with a cache in a folder."""
    cache = ArtifactCache(folder, most_bytes=1 << 30)
    return Artifacts(ArtifactSettings(**settings), cache)


def turns(database: Database, files: Artifacts | None = None) -> int:
    """Inspect until nothing waits; give how many versions there were."""
    turn, done = inspecting(database, files or artifacts(Path("nowhere"))), 0
    while turn():
        done += 1
    return done


def found_of(database: Database, version: Version) -> inspections.InspectionRow:
    row = database.run(lambda tx: inspections.fetch(tx, version.id))
    assert row
    return row


def test_a_version_of_the_store_is_inspected(
    database: Database, register: Register, tmp_path: Path
) -> None:
    store = FilesStore(str(tmp_path / "store"), most=1 << 30, timeout=timedelta(minutes=1))
    identity = inspect_apart(SOUND)["identity"]
    store.put(identity, SOUND)
    stored = register("v1", f"store:{identity}", sha256=identity)
    elsewhere = register("v2", "s3://models/support")
    settings = ArtifactSettings()
    files = Artifacts(settings, ArtifactCache(tmp_path / "cache", most_bytes=1 << 30), store)
    assert turns(database, files) == 1
    assert found_of(database, stored).state is WeightsState.HEALTHY
    assert database.run(lambda tx: inspections.fetch(tx, elsewhere.id)) is None


# --- the process --------------------------------------------------------------------------


def test_a_folder_is_inspected_in_a_process_of_its_own() -> None:
    report = inspect_apart(SOUND)
    assert (report["state"], len(report["modules"])) == ("healthy", 21)


def test_what_the_process_refuses_is_refused_here_too(tmp_path: Path) -> None:
    with pytest.raises(WeightsRefused, match="no such folder") as caught:
        inspect_apart(tmp_path / "nowhere")
    assert caught.value.refusal is Remedy.MISSING


def test_an_inspection_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, b"")
    with (folder / "adapter_model.safetensors").open("wb") as file:
        header = json.dumps(
            {"a": {"dtype": "F32", "shape": [2**29], "data_offsets": [0, 2**31]}}
        ).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, 8 + len(header) + 2**31)  # a sparse one is refused
    with pytest.raises(
        WeightsRefused, match=r"no answer within its limits \(1 s\): it ended with signal"
    ) as caught:
        inspect_apart(folder, seconds=1)
    assert caught.value.refusal is Remedy.UNSUPPORTED


# --- the loop -----------------------------------------------------------------------------


def test_a_version_with_a_folder_is_inspected_once(database: Database, register: Register) -> None:
    by_path = register("v1", str(SOUND))
    by_address = register("v2", SOUND.absolute().as_uri())
    register("v3", None)
    register("v4", "s3://bucket/support-v4")
    register("v5", "acme/support-v5")
    assert turns(database) == 2
    assert turns(database) == 0
    for version in (by_path, by_address):
        row = found_of(database, version)
        assert (row.state, row.version) == (WeightsState.HEALTHY, version.name)
        assert row.summary["modules"] == 21
    with database.begin() as tx:
        assert len(inspections.report(tx, by_path.id)["modules"]) == 21
        assert inspections.of_adapter(tx, by_path.adapter_id).keys() == {by_path.id, by_address.id}
        assert inspections.states(tx) == [
            ("support", "v1", WeightsState.HEALTHY),
            ("support", "v2", WeightsState.HEALTHY),
        ]


def test_a_folder_that_is_named_later_is_inspected_then(
    database: Database, register: Register
) -> None:
    register("v1", None)
    assert turns(database) == 0
    version = register("v1", str(SOUND))
    assert turns(database) == 1
    assert found_of(database, version).state is WeightsState.HEALTHY


def test_files_that_are_registered_in_place_of_an_engines_are_inspected_in_their_turn(
    database: Database, register: Register, tmp_path: Path
) -> None:
    engines = register("v1", str(SOUND), metadata={versions.FOUND_BY: "engine"})
    assert turns(database) == 1
    shutil.copytree(SOUND, tmp_path / "own")
    register("v1", str(tmp_path / "own"))
    assert turns(database) == 1
    assert found_of(database, engines).state is WeightsState.HEALTHY


def test_damage_is_told_with_its_reason(
    database: Database, register: Register, tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng)
    next(iter(tensors.values()))[0, 0] = np.nan
    nan = register("nan", str(write_adapter(tmp_path / "nan", tensors)))
    crafted = register("crafted", str(write_adapter(tmp_path / "crafted", b"\xff" * 64)))
    corrupt_adapter(SOUND, tmp_path / "zeroed", seed=1, how=Corruption.ZEROED_LAYER)
    zeroed = register("zeroed", str(tmp_path / "zeroed"))
    assert turns(database) == 3
    assert found_of(database, nan).state is WeightsState.BROKEN
    assert "NaN" in found_of(database, nan).reason
    assert found_of(database, crafted).state is WeightsState.BROKEN
    assert "header" in found_of(database, crafted).reason
    assert found_of(database, crafted).summary == {}
    assert found_of(database, zeroed).state is WeightsState.SUSPECT


@pytest.mark.parametrize(
    "uri",
    [
        "/nowhere/at/all",
        "/etc",
        "/etc/hostname",
        "/etc/shadow/x",
        "file:///nowhere",
        "file:x",
        "/\n",
    ],
)
def test_a_folder_out_of_reach_is_only_said_to_be_that(
    database: Database, register: Register, uri: str
) -> None:
    version = register("v1", uri)
    assert turns(database) == 1
    row = found_of(database, version)
    assert (row.state, row.reason) == (WeightsState.UNREADABLE, NOT_READABLE)


def test_another_kind_of_adapter_says_which(
    database: Database, register: Register, tmp_path: Path
) -> None:
    version = register("v1", str(write_adapter(tmp_path, b"", peft_type="IA3")))
    turns(database)
    row = found_of(database, version)
    assert (row.state, row.reason) == (
        WeightsState.UNREADABLE,
        "peft_type is 'IA3'; only LORA is inspected",
    )


def test_other_weights_than_were_registered_are_suspect(
    database: Database, register: Register
) -> None:
    report = inspect_apart(SOUND)
    same = register("v1", str(SOUND), sha256=str(report["identity"]))
    other = register("v2", str(SOUND), sha256="0" * 64)
    of_file = register("v3", str(SOUND), sha256=str(report["sha256"]))
    turns(database)
    assert found_of(database, same).state is WeightsState.HEALTHY
    assert found_of(database, same).weights == report["identity"]
    assert found_of(database, of_file).state is WeightsState.HEALTHY
    assert found_of(database, of_file).reason.endswith(
        "the registered sha256 is of the weights file alone, not of its config"
    )
    assert found_of(database, other).state is WeightsState.SUSPECT
    assert "not the registered one" in found_of(database, other).reason


def test_a_doubled_alpha_is_not_what_was_registered(
    database: Database, register: Register, tmp_path: Path
) -> None:
    shutil.copytree(SOUND, tmp_path / "doubled")
    place = tmp_path / "doubled" / "adapter_config.json"
    config = json.loads(place.read_text())
    place.write_text(json.dumps(config | {"lora_alpha": 2 * config["lora_alpha"]}))
    registered = str(inspect_apart(SOUND)["identity"])
    version = register("v1", str(tmp_path / "doubled"), sha256=registered)
    turns(database)
    assert found_of(database, version).state is WeightsState.SUSPECT
    assert "not the registered one" in found_of(database, version).reason


def test_what_an_earlier_release_has_read_is_read_again_for_its_identity(
    database: Database, register: Register, tmp_path: Path
) -> None:
    readable = register("v1", str(SOUND))
    shutil.copytree(SOUND, tmp_path / "gone")
    gone = register("v2", str(tmp_path / "gone"))
    turns(database)
    report = inspect_apart(SOUND)
    with database.begin() as tx:
        tx.exec_driver_sql(
            "UPDATE weight_inspections SET report = report - 'identity',"
            " weights = report->>'sha256', at = now() - interval '61 minutes'"
        )
    shutil.rmtree(tmp_path / "gone")
    assert turns(database) == 2
    assert found_of(database, readable).weights == report["identity"]
    kept = found_of(database, gone)
    assert (kept.state, kept.weights) == (WeightsState.HEALTHY, report["sha256"])


def test_the_first_to_have_read_the_files_wins_and_only_it_tells(
    database: Database, register: Register
) -> None:
    version = register("v1", str(SOUND))

    def put(state: WeightsState) -> bool:
        return database.run(
            lambda tx: inspections.put(tx, version_id=version.id, state=state, reason="")
        )

    assert put(WeightsState.UNREADABLE)
    assert not put(WeightsState.UNREADABLE)
    assert put(WeightsState.BROKEN)
    assert not put(WeightsState.BROKEN)
    assert not put(WeightsState.HEALTHY)
    assert found_of(database, version).state is WeightsState.BROKEN


def test_a_folder_out_of_reach_is_looked_for_again_after_an_hour(
    database: Database, register: Register
) -> None:
    register("v1", "/nowhere/at/all")
    assert turns(database) == 1
    with database.begin() as tx:
        tx.exec_driver_sql("UPDATE weight_inspections SET at = now() - interval '61 minutes'")
    assert turns(database) == 1
    assert turns(database) == 0


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/models/v7", "/models/v7"),
        ("/models/50%25", "/models/50%25"),
        ("file:///models/50%25", "/models/50%"),
        ("file://localhost/models/v7", "/models/v7"),
        ("file://elsewhere/models/v7", None),
        ("file:models/v7", None),
        ("file:///a%00b", None),
        ("file://[::1", None),
        ("hf://acme/v7", None),
        ("", None),
    ],
)
def test_only_paths_and_file_addresses_are_folders_here(uri: str, path: str | None) -> None:
    assert local_folder(uri) == (Path(path) if path else None)


# --- what people see ----------------------------------------------------------------------


def test_the_api_shows_what_was_found(
    database: Database, tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = {name: x * ("lora_B" not in name) for name, x in layers(rng).items()}
    folder = write_adapter(tmp_path / "untrained", tensors)
    path = "/v1/adapters/support/versions"
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        made = client.put(f"{path}/v1", json={"uri": str(folder)}).json()
        client.put(f"{path}/v2", json={})
        assert made["weights"] is None
        assert client.get(f"{path}/v1/weights").status_code == 404
        turns(database)
        one = client.get(f"{path}/v1").json()["weights"]
        full = client.get(f"{path}/v1/weights").json()
        listed = client.get("/v1/adapters/support").json()["versions"]
        assert client.get(f"{path}/v2").json()["weights"] is None
        assert client.get(f"{path}/v3/weights").json()["type"].endswith("unknown-version")
        _exported(service)
    assert one["state"] == "broken"
    assert "would not change the base at all" in one["reason"]
    assert one["summary"]["effective_rank"] == [0, 0, 0]
    assert full.items() >= one.items()
    assert full["report"]["modules"][0]["rank"] == 4
    assert [version["weights"] for version in listed] == [one, None]


def _exported(service: Serving) -> None:
    with service.client(Scope.READ) as client:
        lines = client.get("/metrics").text.splitlines()
    shown = [line for line in lines if line.startswith("driftline_weights_state{")]
    assert len(shown) == len(WeightsState)
    assert 'driftline_weights_state{adapter="support",state="broken",version="v1"} 1.0' in shown


def test_the_page_shows_it_as_text(
    database: Database, tmp_path: Path, rng: np.random.Generator
) -> None:
    tensors = layers(rng, kinds=("<b>proj", "v_proj"))
    folder = write_adapter(tmp_path / "strange", tensors, target_modules=["v_proj"])
    with serving(database, tmp_path) as service, service.client(Scope.ADMIN) as client:
        client.put("/v1/adapters/support/versions/v1", json={"uri": str(folder)})
        assert "<dt>Weights</dt>" not in _page(service)
        turns(database)
        page = _page(service)
    assert '<dt>Weights</dt><dd><span class="caution">suspect</span>' in page
    assert "self_attn.&lt;b&gt;proj" in page
    assert "<b>proj" not in page


def _page(service: Serving) -> str:
    with service.client() as client:
        client.post("/login", data={"key": service.keys[Scope.READ]})
        return client.get("/adapters/support").text
