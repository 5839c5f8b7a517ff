"""Real servers of object stores, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.loopback import unused_port

BUCKET = "models"
ROOT = Path(__file__).parents[1]
S3FS = "s3fs==2026.9.0"
PINNED = (
    *("fsspec==2026.9.0", S3FS, "gcsfs==2026.10.1", "moto[server,s3]==5.2.5"),
    *("gcp-storage-emulator==2026.7.19", "msgspec", "numpy", "structlog", "google-re2"),
)


def with_clients_and_servers() -> Path:
    """Return a Python that has both, installed if it is not there yet."""
    folder = ROOT / ".venv-fetch"
    python, marker = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join([*PINNED, sys.version])
    if not marker.exists() or marker.read_text() != wanted:
        venv.create(folder, clear=True, symlinks=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        marker.write_text(wanted)
    return python


def s3_variables(url: str) -> dict[str, str]:
    """Return the environment by which any client of S3 finds the server at `url`."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }


@contextmanager
def s3(python: Path, *, log: Path) -> Iterator[str]:
    """Run moto's server on the loopback address, with an empty bucket; give its URL."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}"
    command = [os.fspath(python.parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, url, log):
        httpx2.put(f"{url}/{BUCKET}", trust_env=False).raise_for_status()
        yield url


@contextmanager
def running(command: Sequence[str], url: str, log: Path) -> Iterator[str]:
    """Run a server until the end, from when it answers at `url`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        httpx2.get(url, trust_env=False)
    except httpx2.TransportError:
        return False
    return True
