"""Adapters in a real S3 server (moto's) and an emulator of Google's storage."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from examples.weights import DemoAdapter
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.copying import CopyFailed, dataset_at
from monitor.artifacts.finding import Artifacts
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import FilesStore
from monitor.probes.weights.described import dataset_hash
from tests.artifacts.test_finding import MINUTE, Registered, files_of, identity_of
from tests.buckets import BUCKET, ROOT, running, s3, s3_variables, with_clients_and_servers
from tests.loopback import unused_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SOUND = DemoAdapter.SUPPORT_V1.path


@pytest.fixture(scope="module")
def interpreter() -> Path:
    return with_clients_and_servers()


@pytest.fixture(params=["s3", "gs"])
def bucket(
    request: pytest.FixtureRequest,
    interpreter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """The address of an empty bucket, which the clients find by their own variables."""
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if request.param == "s3":
        with s3(interpreter, log=tmp_path / "moto.log") as url:
            for name, value in s3_variables(url).items():
                monkeypatch.setenv(name, value)
            yield f"s3://{BUCKET}"
        return
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    command = [os.fspath(interpreter.parent / "gcp-storage-emulator"), "start"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    with running([*command, "--default-bucket", BUCKET], url, tmp_path / "gcs.log"):
        yield f"gs://{BUCKET}"


def _artifacts(tmp_path: Path, **settings: object) -> Artifacts:
    cache = ArtifactCache(tmp_path / "cache", most_bytes=1 << 30)
    found = ArtifactSettings(timeout=MINUTE, **settings)  # type: ignore[arg-type]
    return Artifacts(found, cache)


def test_an_adapter_is_put_and_fetched(bucket: str, tmp_path: Path) -> None:
    store = FilesStore(f"{bucket}/adapters", most=1 << 30, timeout=MINUTE)
    identity = identity_of(SOUND)
    with pytest.raises(CopyFailed, match="there is no adapter_model") as nothing:
        store.get(identity, tmp_path)
    assert nothing.value.missing
    store.put(identity, SOUND)

    found = _artifacts(tmp_path, sources=(f"{bucket}/adapters/",))
    version = Registered(uri=f"{bucket}/adapters/{identity}", sha256=identity)
    folder = found.fetched(version)
    assert folder is not None
    assert files_of(folder) == files_of(SOUND)


def test_a_dataset_of_a_bucket_has_the_hash_of_its_files(bucket: str, tmp_path: Path) -> None:
    store = FilesStore(bucket, most=1 << 30, timeout=MINUTE)
    store.put("data", SOUND)
    copied = tmp_path / "data"
    copied.mkdir()
    store.get("data", copied)
    assert dataset_at(f"{bucket}/data", timeout=MINUTE) == dataset_hash([copied])


def test_a_place_that_does_not_answer_is_said(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = f"http://127.0.0.1:{unused_port()}"
    for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, away)
    store = FilesStore(bucket, most=1 << 30, timeout=timedelta(seconds=120))
    with pytest.raises(CopyFailed, match=r"does not answer|took longer"):
        store.get("nothing", tmp_path)
