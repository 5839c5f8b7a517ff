"""Logs in a real S3 server (moto's), replayed on Ray as those of a disk are."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.buckets import BUCKET, ROOT, S3FS, s3, s3_variables, with_clients_and_servers
from tests.cli.command import failed, process
from tests.replay.test_on_ray import ENVIRON, traffic, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GIVEN = ("--ray", "2", "--baseline-first", "8d", "--no-embeddings", "--json")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where fsspec finds s3fs, which this environment does not have."""
    folder = tmp_path_factory.mktemp("clients")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), S3FS]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with s3(with_clients_and_servers(), log=tmp_path / "moto.log") as running:
        yield running


def test_a_bucket_is_replayed_as_the_folder_it_was_copied_from(
    url: str, clients: Path, tmp_path: Path
) -> None:
    folder = written(traffic(), tmp_path / "many")
    for file in folder.iterdir():
        where = f"{url}/{BUCKET}/logs/{file.name}"
        httpx2.put(where, content=file.read_bytes(), trust_env=False).raise_for_status()
    environ = ENVIRON | s3_variables(url) | {"PYTHONPATH": f"{clients}{os.pathsep}{ROOT}"}
    bucket = process("replay", f"s3://{BUCKET}/logs", *GIVEN, environ=environ)
    disk = process("replay", str(folder), *GIVEN, environ=ENVIRON)
    assert (bucket.code, disk.code) == (4, 4), (bucket, disk)
    there, here = json.loads(bucket.out), json.loads(disk.out)
    assert [one["name"] for one in here["versions"]] == ["calm@v1", "drifts@v1"]
    assert (there["versions"], there["failed"]) == (here["versions"], here["failed"])
    assert there["file"]["lines"] == here["file"]["lines"]
    first = there["file"]["first_bad"][0]["file"]
    assert first.endswith(f"{BUCKET}/logs/a.jsonl")

    nothing = process("replay", f"s3://{BUCKET}/none", *GIVEN, environ=environ)
    failed(nothing, f"s3://{BUCKET}/none: there is no such file, and no folder with files")


def test_a_store_without_its_client_is_said_to_need_it() -> None:
    failed(process("replay", "s3://logs/2026", *GIVEN), "s3://logs/2026: Install s3fs")
