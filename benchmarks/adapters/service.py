"""Driftline as a user sets it up: daemon, gateway, a webhook for on-call; put back to any state."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from benchmarks.adapters.recorder import Recorder
from benchmarks.adapters.tasks import TASKS, task
from examples.demo.processes import FRESH, Process, Processes, free_port
from examples.demo.receiver import Receiver, new_secret
from monitor.config.reading import duration

CONFIG: Final = Path(__file__).parent / "driftline.toml"
DOMAIN_TEXTS: Final = 5
"""Texts of each task in the corpus of its adapter's perplexity."""
GENERAL_TEXTS: Final = 2
"""Of each task in the corpus of all."""
LONGEST: Final = 170
"""Characters of a text: a CPU reads 70 tokens a second through an adapter."""
READY_S: Final = 300.0
PROBE_CYCLE: Final = "DRIFTLINE_SCHEDULE__PERPLEXITY_INTERVAL"


def probe_cycle(settings: Mapping[str, str]) -> timedelta:
    """Return the probe cycle: that of the benchmark's config, unless these settings have one."""
    usual = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["schedule"]["perplexity_interval"]
    return duration(settings.get(PROBE_CYCLE, usual))


@dataclass(kw_only=True, eq=False)
class Service:
    """One daemon and one gateway on a data folder; a context that starts and ends both."""

    folder: Path
    engines: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    """In its environment, beside the config's."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *caught: object) -> None:
        self._stack.__exit__(*caught)  # type: ignore[arg-type]

    def _open(self, stack: ExitStack) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.receiver = stack.enter_context(Receiver(free_port(), secret=(secret := new_secret())))
        port, gateway_port = free_port(), free_port()
        self.url, self.gateway = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{gateway_port}"
        self.recorder = stack.enter_context(Recorder(port=free_port(), service=self.url))
        self._environ = {
            "DRIFTLINE_SERVICE__DATA_DIR": str(self.folder / "data"),
            "DRIFTLINE_SERVER__PORT": str(port),
            "DRIFTLINE_GATEWAY__PORT": str(gateway_port),
            "DRIFTLINE_GATEWAY__SERVICE": self.recorder.url,
            "DRIFTLINE_PROBES__PERPLEXITY__CORPUS": str(general_corpus(self.folder)),
            "BENCHMARK_WEBHOOK_URL": self.receiver.url,
            "BENCHMARK_WEBHOOK_SECRET": secret,
            "OMP_NUM_THREADS": "1",
            **self.settings,
        }
        self._config = _config(self.folder)
        self._processes = stack.enter_context(Processes(self.folder))
        self._start(self.engines)

    def _start(self, engines: Sequence[str]) -> None:
        environ = {**self._environ, "DRIFTLINE_SERVING__ENGINES": json.dumps(list(engines))}
        config = ["-c", str(self._config)]
        self.daemon = self._processes.start(
            "driftline", ["monitor", "serve", *config], environ=environ
        )
        self.daemon.wait_until_ready(f"{self.url}/readyz", seconds=READY_S)
        key = (self.folder / "data" / "admin.key").read_text(encoding="utf-8").strip()
        self.http = httpx2.Client(
            base_url=f"{self.url}/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=120,
            limits=FRESH,
            trust_env=False,
        )
        self.proxy = self._processes.start(
            "gateway", ["monitor", "gateway", *config], environ=environ
        )
        self.proxy.wait_until_ready(f"{self.gateway}/readyz", seconds=READY_S)

    def restart(self, engines: Sequence[str]) -> None:
        """End both and start them with other engines, as after a change of the config."""
        self.http.close()
        self.proxy.stop()
        self.daemon.stop()
        self._start(engines)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of daemon, gateway and database so far."""
        return sum(cpu_seconds(process) for process in (self.daemon, self.proxy))

    def get(self, path: str, **params: Any) -> Any:
        """Read from the API."""
        return self.http.get(path, params=params).raise_for_status().json()

    def send(self, method: str, path: str, **given: Any) -> httpx2.Response:
        """Change something by the API."""
        answer = self.http.request(method, path, **given)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def register(self, adapter: str, version: str, **described: Any) -> None:
        """Register a version."""
        self.send("PUT", f"/adapters/{adapter}/versions/{version}", json=described)

    def route(self, adapter: str, version: str) -> None:
        """Give all of an adapter's traffic to a version."""
        etag = self.http.get(f"/routes/{adapter}").headers["etag"]
        arms = [{"arm": "stable", "version": version, "weight": 1.0}]
        self.send(
            "PUT",
            f"/routes/{adapter}",
            json={"arms": arms, "reason": "approved for this benchmark"},
            headers={"if-match": etag},
        )


def keep(data: Path, snapshot: Path) -> None:
    """Copy the data folder of a service that has ended."""
    shutil.rmtree(snapshot, ignore_errors=True)
    shutil.copytree(data, snapshot, symlinks=True, ignore=_sockets)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def _config(folder: Path) -> Path:
    """The config with each adapter's corpus, which lies in the run's own folder."""
    text = CONFIG.read_text(encoding="utf-8")
    for name in TASKS:
        path = folder / f"{name}.jsonl"
        _write(path, name, _texts(name)[:DOMAIN_TEXTS])
        text += f'\n[adapters.{name}]\ncorpus = "{path}"\n'
    target = folder / "driftline.toml"
    target.write_text(text, encoding="utf-8")
    return target


def general_corpus(folder: Path) -> Path:
    """Texts of all tasks: what no adapter alone was trained for."""
    path = folder / "general.jsonl"
    last = DOMAIN_TEXTS + GENERAL_TEXTS
    _write(path, "general", [one for name in TASKS for one in _texts(name)[DOMAIN_TEXTS:last]])
    return path


def _texts(name: str) -> list[str]:
    """Short questions with their answers, none of which is asked or in a baseline."""
    found = [f"{pair.prompt}\n{pair.answer}" for pair in task(name).training]
    return [text for text in found if len(text) <= LONGEST]


def _write(path: Path, name: str, texts: Sequence[str]) -> None:
    lines = [json.dumps({"id": f"{name}-{i:02}", "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cpu_seconds(process: Process) -> float:
    """CPU seconds of a process's whole session, what has ended included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.handle.pid:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
