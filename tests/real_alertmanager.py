"""A real Alertmanager, from the system's packages, whose webhook is a receiver of ours."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.loopback import Receiver, answer, unused_port
from tests.tools import needs

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_alertmanager = needs(BINARY, "`make prometheus` installs an Alertmanager")
PATIENCE = 30.0


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[tuple[str, Receiver]]:
    """Run one until the end; gives its URL and what its webhook, ``%s`` in ``config``, is sent."""
    address = f"127.0.0.1:{unused_port()}"
    with Receiver([answer(200)]) as hook:
        (folder / "config.yml").write_text(config % hook.url)
        process = subprocess.Popen(
            [
                str(BINARY),
                f"--config.file={folder / 'config.yml'}",
                f"--storage.path={folder}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _until_ready(address, process)
            yield f"http://{address}", hook
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def _until_ready(address: str, process: "subprocess.Popen[bytes]") -> None:
    host, _, port = address.partition(":")
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=1.0):
                if httpx2.get(f"http://{address}/-/ready", trust_env=False).is_success:
                    return
        except OSError:
            pass
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "it is not ready in time"
        threading.Event().wait(0.1)
