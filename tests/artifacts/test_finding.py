"""Where a version's files are found, and what is never used."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.weights import DemoAdapter
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.copying import CopyFailed, dataset_at
from monitor.artifacts.finding import Artifacts
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import FilesStore, open_store
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.described import dataset_hash
from monitor.probes.weights.errors import WeightsRefused
from monitor.redis import Conversation, RedisServer, place
from tests.artifacts.hub import FakeHub
from tests.gateway.conftest import listening
from tests.loopback import unused_port
from tests.routed import redis, redis_server

SOUND = DemoAdapter.SUPPORT_V1.path
LOOPBACK = OutgoingClient(OutgoingPolicy(allow=("127.0.0.0/8",)))
MINUTE = timedelta(minutes=1)
PASSWORD = "s3cret"  # noqa: S105 - of a server of this test


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version, as it is registered."""

    uri: str | None
    sha256: str | None = None
    label: str = "support@v1"


def identity_of(folder: Path) -> str:
    with opened_adapter(folder) as adapter:
        return adapter.identity


def files_of(folder: Path) -> dict[str, bytes]:
    names = ("adapter_config.json", "adapter_model.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


def other(folder: Path, *, by: float) -> Path:
    """Another adapter: the same with larger weights."""
    shutil.copytree(SOUND, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    changed = {name: (1 + by) * tensor for name, tensor in weights.items()}
    save_file(changed, folder / "adapter_model.safetensors")
    return folder


def artifacts(tmp_path: Path, *, most_bytes: int = 1 << 30, **settings: Any) -> Artifacts:
    found = ArtifactSettings(timeout=MINUTE, **settings)
    cache = ArtifactCache(tmp_path / "cache", most_bytes=most_bytes)
    return Artifacts(found, cache, open_store(found, LOOPBACK))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub of our own, in place of the one of the network."""
    hub = FakeHub(folders={"acme/support": SOUND})
    with listening(hub.app()) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub


# --- by address -----------------------------------------------------------------------------


def test_an_adapter_of_the_hub_is_fetched_once(hub: FakeHub, tmp_path: Path) -> None:
    found = artifacts(tmp_path, sources=("hf://acme/",))
    version = Registered(uri="hf://acme/support@main", sha256=identity_of(SOUND))
    assert found.at_hand(version) is None

    folder = found.fetched(version)
    assert folder is not None
    assert files_of(folder) == files_of(SOUND)
    assert found.at_hand(version) == folder
    asked = len(hub.asked)
    assert found.fetched(version) == folder
    assert len(hub.asked) == asked


def test_a_hub_that_fails_for_a_moment_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.broken = 1
    found = artifacts(tmp_path, sources=("hf://acme/",))
    assert found.fetched(Registered(uri="hf://acme/support")) is not None


@pytest.mark.parametrize(
    "address",
    [
        *("hf://acme/../evil/support", "hf://evil/support", "s3://models/support", "redis://x/1"),
        *("hf://acme/support@refs/pr/7", "hf://acme/support@refs%2Fpr%2F7", "hf://acme/a::file://"),
    ],
)
def test_only_addresses_of_the_sources_are_asked(
    hub: FakeHub, tmp_path: Path, address: str
) -> None:
    found = artifacts(tmp_path, sources=("hf://acme/",))
    assert found.fetched(Registered(uri=address)) is None
    assert hub.asked == []


def test_what_is_not_what_was_registered_is_refused_and_not_kept(
    hub: FakeHub, tmp_path: Path
) -> None:
    found = artifacts(tmp_path, sources=("hf://acme/",))
    version = Registered(uri="hf://acme/support", sha256="0" * 64)
    with pytest.raises(WeightsRefused, match="not those of its registration"):
        found.fetched(version)
    assert found.at_hand(version) is None
    assert list((tmp_path / "cache").glob("*")) == []
    assert hub.asked


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("acme/nothing", {}, "could not be fetched: there is no adapter_model.safetensors"),
        ("acme/support", {"largest": 1000}, "bytes, more than 1,000"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    hub: FakeHub, tmp_path: Path, name: str, settings: dict[str, int], said: str
) -> None:
    hub.folders = {**hub.folders, "acme/nothing": tmp_path}
    found = artifacts(tmp_path, sources=("hf://acme/",), **settings)
    with pytest.raises(WeightsRefused, match=said):
        found.fetched(Registered(uri=f"hf://{name}"))


def test_a_pickle_is_never_fetched(hub: FakeHub, tmp_path: Path) -> None:
    mixed = other(tmp_path / "mixed", by=0.5)
    (mixed / "training_args.bin").write_bytes(b"\x80\x04.")
    (mixed / "modeling.py").write_text("raise SystemExit")
    hub.folders = {"acme/mixed": mixed}
    folder = artifacts(tmp_path, sources=("hf://acme/",)).fetched(Registered(uri="hf://acme/mixed"))
    assert folder is not None
    assert {one.suffix for one in folder.iterdir()} == {".json", ".safetensors"}


def test_a_dataset_at_an_address_has_the_hash_of_its_files(hub: FakeHub, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "more").mkdir(parents=True)
    (data / "a.jsonl").write_text("one\n")
    (data / "more" / "b.jsonl").write_text("two\n")
    hub.folders = {"acme/data": data}
    assert dataset_at("hf://acme/data", timeout=MINUTE) == dataset_hash([data])
    single = dataset_at("hf://acme/data/a.jsonl", timeout=MINUTE)
    assert single == dataset_hash([data / "a.jsonl"])
    with pytest.raises(CopyFailed):
        dataset_at("hf://acme/nothing", timeout=MINUTE)


# --- the cache ------------------------------------------------------------------------------


def test_the_cache_drops_what_was_used_longest_ago(tmp_path: Path) -> None:
    size = sum(len(body) for body in files_of(SOUND).values())
    cache = ArtifactCache(tmp_path / "cache", most_bytes=int(2.5 * size))
    kept = []
    for number in range(3):
        with cache.room() as room:
            shutil.copytree(other(tmp_path / f"a{number}", by=0.1 * number), room / "files")
            kept.append(cache.keep(room / "files", f"s3://models/{number}", sha256=None))
        os.utime(kept[-1], (number, number))
    assert cache.find("s3://models/0", sha256=None) is None
    assert [cache.find(f"s3://models/{n}", sha256=None) for n in (1, 2)] == kept[1:]
    assert kept[1].stat().st_mtime > time.time() - 60, "it was used"


def test_half_an_adapter_is_not_found_and_is_replaced(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1 << 30)
    for _ in range(2):
        with cache.room() as room:
            shutil.copytree(SOUND, room / "files")
            kept = cache.keep(room / "files", "s3://models/support", sha256=None)
        assert cache.find("s3://models/support", sha256=None) == kept
        (kept / "adapter_model.safetensors").unlink()
        assert cache.find("s3://models/support", sha256=None) is None


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, most_bytes=1 << 30)
    (tmp_path / ".part-old").mkdir()
    os.utime(tmp_path / ".part-old", (0, 0))
    (tmp_path / ".part-new").mkdir()
    with cache.room() as room:
        assert {one.name for one in tmp_path.iterdir()} == {".part-new", room.name}


def test_a_version_without_an_address_has_no_files_of_others(
    store: dict[str, Any], tmp_path: Path
) -> None:
    opened = open_store(ArtifactSettings(timeout=MINUTE, **store), LOOPBACK)
    assert opened is not None
    opened.put(identity_of(SOUND), SOUND)
    found = artifacts(tmp_path, **store)
    assert found.fetched(Registered(uri=None, sha256=identity_of(SOUND))) is not None
    assert found.fetched(Registered(uri=None)) is None


def test_a_cache_that_cannot_be_written_is_said(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    found = artifacts(tmp_path, sources=("hf://acme/",))
    with pytest.raises(WeightsRefused, match="could not be kept here: "):
        found.fetched(Registered(uri="hf://acme/support"))
    assert hub.asked == []


def test_a_damaged_note_of_the_cache_is_no_error(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1 << 30)
    with cache.room() as room:
        shutil.copytree(SOUND, room / "files")
        cache.keep(room / "files", "s3://models/support", sha256=None)
    (note,) = (tmp_path / "cache" / ".places").iterdir()
    note.write_text(json.dumps({"identity": "../../etc", "sha256": ""}))
    assert cache.find("s3://models/support", sha256=None) is None
    note.write_bytes(b"{")
    assert cache.find("s3://models/support", sha256=None) is None


# --- the store ------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "valkey"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The keys of ``[artifacts]`` that name a store."""
    if request.param == "folder":
        yield {"store": str(tmp_path / "store")}
        return
    binary = redis_server()
    assert binary is not None
    with redis(binary, tmp_path, password=PASSWORD) as port:
        yield {"store": f"redis://127.0.0.1:{port}/1", "store_password": PASSWORD}


def test_a_version_is_taken_from_the_store_by_its_identity(
    store: dict[str, Any], tmp_path: Path
) -> None:
    found = artifacts(tmp_path, **store)
    identity = identity_of(SOUND)
    version = Registered(uri=f"store:{identity}", sha256=identity)
    assert found.fetched(version) is None, "it is not there yet"

    opened = open_store(ArtifactSettings(timeout=MINUTE, **store), LOOPBACK)
    assert opened is not None
    opened.put(identity, SOUND)
    opened.put(identity, SOUND)
    folder = found.fetched(version)
    assert folder is not None
    assert files_of(folder) == files_of(SOUND)
    elsewhere = replace(version, uri="/a/folder/of/another/machine")
    assert found.fetched(elsewhere) == folder


def test_what_an_address_does_not_give_the_store_may(
    hub: FakeHub, store: dict[str, Any], tmp_path: Path
) -> None:
    opened = open_store(ArtifactSettings(timeout=MINUTE, **store), LOOPBACK)
    assert opened is not None
    identity = identity_of(SOUND)
    found = artifacts(tmp_path, sources=("hf://acme/",), **store)
    version = Registered(uri="hf://acme/gone", sha256=identity)
    with pytest.raises(WeightsRefused, match="could not be fetched"):
        found.fetched(version)
    opened.put(identity, SOUND)
    assert found.fetched(version) is not None
    assert hub.asked


def test_another_adapter_under_an_identity_is_refused(
    store: dict[str, Any], tmp_path: Path
) -> None:
    opened = open_store(ArtifactSettings(timeout=MINUTE, **store), LOOPBACK)
    assert opened is not None
    identity = identity_of(SOUND)
    opened.put(identity, other(tmp_path / "other", by=0.5))
    with pytest.raises(WeightsRefused, match="not those of its registration"):
        artifacts(tmp_path, **store).fetched(Registered(uri="store:", sha256=identity))


def test_a_store_that_is_away_is_said(tmp_path: Path) -> None:
    away = f"redis://127.0.0.1:{unused_port()}"
    found = artifacts(tmp_path, store=away)
    with pytest.raises(WeightsRefused, match="could not be fetched: redis://127"):
        found.fetched(Registered(uri=None, sha256="0" * 64))


def test_a_value_of_others_in_the_store_is_refused(tmp_path: Path) -> None:
    binary = redis_server()
    assert binary is not None
    with redis(binary, tmp_path, password=PASSWORD) as port:
        settings = ArtifactSettings(
            store=f"redis://127.0.0.1:{port}", store_password=PASSWORD, timeout=MINUTE
        )
        opened = open_store(settings, LOOPBACK)
        assert opened is not None
        server = RedisServer(place=place(settings.store), client=LOOPBACK, password=PASSWORD)
        for value, said in (
            (b"rubbish", "not one of Driftline's"),
            (b'{"files": {"../evil": 1}}', "no adapter has"),
            (b'{"files": {"adapter_config.json": 5}}', "lost a part"),
        ):
            server.talk(partial(_set, "driftline:adapter:x", value))
            with pytest.raises(CopyFailed, match=said):
                opened.get("x", tmp_path)


def _set(key: str, value: bytes, server: Conversation) -> None:
    server.ask("SET", key, value)


def test_a_copy_that_hangs_is_ended(tmp_path: Path) -> None:
    store = FilesStore(str(tmp_path), most=1 << 30, timeout=timedelta(milliseconds=1))
    with pytest.raises(CopyFailed, match="longer than"):
        store.put("x", SOUND)


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"sources": ("hf://",)}, "sources"),
        ({"sources": ("hf://acme",)}, "sources"),
        ({"sources": ("https://models.example/",)}, "sources"),
        ({"largest": 0}, "largest"),
        ({"largest": 2, "cache_bytes": 1}, "largest"),
        ({"timeout": timedelta()}, "timeout"),
        ({"store": "redis://user:secret@host"}, "store"),
        ({"store": "s3://"}, "store"),
        ({"store": "models"}, "store"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any], key: str) -> None:
    (problem,) = ArtifactSettings(**settings).problems
    assert problem.startswith(f"{key}: ")
    assert "secret" not in problem


def test_settings_that_can_work_have_no_problem() -> None:
    stores = ("redis://host", "rediss://host/1", "s3://models/adapters", "gs://m", "/srv/adapters")
    assert [ArtifactSettings(store=one).problems for one in stores] == [[]] * 5
    assert ArtifactSettings(sources=("hf://acme/", "s3://models/", "gs://m/a/")).problems == []
