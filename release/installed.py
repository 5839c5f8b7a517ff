"""A wheel in an environment of its own, and its first steps as a user takes them.

The environment has the wheel and nothing of this tree. What the wheel depends on is read from the
environment of development: to download a gigabyte again would prove nothing about the wheel.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PATIENCE: Final = 120.0
"""Seconds until the service is ready: it makes its database first."""

_WHERE: Final = """
import json, driftline.client, monitor
from monitor.web.runbooks import read_runbooks
print(json.dumps([monitor.__file__, len(read_runbooks())]))
"""


class Unusable(Exception):  # noqa: N818 (says what is wrong by its name)
    """The wheel does not do what it has to; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The environment, the folder in which its service works, and the service's port."""

    environment: Path
    work: Path
    port: int

    @classmethod
    def into(cls, folder: Path, wheel: Path) -> Self:
        """Make the environment and install the wheel."""
        environment, work = folder / "environment", folder / "work"
        work.mkdir()
        venv.create(environment, symlinks=True)
        bases = {"base": str(environment), "platbase": str(environment)}
        own = Path(sysconfig.get_path("purelib", "venv", bases))
        # imports look in a folder that a .pth names; a .pth inside that folder, as the one that
        # names this tree, is not read
        (own / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
        subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            return cls(environment=environment, work=work, port=free.getsockname()[1])

    def use(self) -> None:
        """Ask for help, check the config, migrate, serve until ready, stop; raises Unusable."""
        module, runbooks = json.loads(self._run("python", "-c", _WHERE))
        if not module.startswith(str(self.environment)) or not runbooks:
            raise Unusable(f"{module} with {runbooks} runbooks is not what was installed")
        if "status" not in self._run("driftline", "--help"):
            raise Unusable("driftline --help names no command")
        for words in (["--version"], ["check-config"], ["migrate"]):
            print(self._run("driftline", *words).strip())
        self._serve()

    def _serve(self) -> None:
        command = [str(self.environment / "bin" / "driftline"), "serve"]
        with (self.work / "log").open("wb") as log:
            service = subprocess.Popen(command, cwd=self.work, env=self._environ, stderr=log)
            try:
                self._wait_for(service)
            finally:
                service.send_signal(signal.SIGTERM)
                ended = service.wait(PATIENCE)
        if ended:
            raise Unusable(f"serve ended with {ended}:\n{(self.work / 'log').read_text()}")
        print("driftline serve: ready, and stopped when told to")

    def _wait_for(self, service: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + PATIENCE
        while not self._ready():
            if service.poll() is not None or time.monotonic() > until:
                raise Unusable(f"serve is not ready:\n{(self.work / 'log').read_text()}")
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return True
        except urllib.error.URLError:
            return False

    def _run(self, program: str, *words: str) -> str:
        command = [str(self.environment / "bin" / program), *words]
        ran = subprocess.run(
            command, cwd=self.work, env=self._environ, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise Unusable(
                f"{program} {' '.join(words)} ended with {ran.returncode}:\n{ran.stderr}"
            )
        return ran.stdout

    @property
    def _environ(self) -> Mapping[str, str]:
        """Nothing of the caller's Python or Driftline."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DRIFTLINE_", "PYTHON"))
        }
        return clean | {"DRIFTLINE_SERVER__PORT": str(self.port)}
