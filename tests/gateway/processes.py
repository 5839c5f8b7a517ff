"""``driftline gateway`` as processes, which may share a port."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.loopback import unused_port
from tests.service import ROOT, until


@dataclass(kw_only=True)
class GatewayProcess:
    """One process; ``port`` may be that of others too."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether this very process has answered that it is ready."""
        assert self.process.poll() is None, self.told()
        try:
            said = httpx2.get(f"{self.url}/readyz", trust_env=False)
        except httpx2.TransportError:
            return False
        return bool(said.is_success and said.json()["pid"] == self.process.pid)

    def told(self) -> str:
        return self.log.read_text(errors="replace")

    def leave(self) -> None:
        self.process.terminate()


@dataclass
class Site:
    """A data folder with kept routes, and who listens for it."""

    folder: Path
    engines: Sequence[str]
    service: str = ""
    key: str = ""
    port: int = 0
    started: int = 0
    command: Sequence[str] = (sys.executable, "-m", "monitor")

    def keep(self, *routes: Any) -> None:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "gateway-routes.json").write_text(json.dumps(routes))
        (data / "admin.key").write_text(self.key)

    @contextmanager
    def gateway(self, **settings: str | int) -> Iterator[GatewayProcess]:
        """Run one until the body ends, ready when it begins."""
        self.port = self.port or unused_port()
        self.started += 1
        config = self.folder / "config.toml"
        more = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        config.write_text(
            f'[service]\ndata_dir = "{self.folder / "data"}"\n'
            f"[serving]\nengines = {json.dumps(self.engines)}\n"
            f"[server]\nport = {unused_port()}\n[gateway]\nport = {self.port}\n"
            + (f'service = "{self.service}"\n' if self.service else "")
            + more
        )
        log = self.folder / f"gateway-{self.started}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self.command, "gateway", "-c", str(config)],
                cwd=ROOT,
                env=dict(os.environ),
                stdout=output,
                stderr=output,
            )
        made = GatewayProcess(port=self.port, process=process, log=log)
        try:
            until(made.ready, "the gateway is ready")
            yield made
        finally:
            process.kill()
            process.wait()
