"""The whole service as a process of its own, over real sockets."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import numpy as np
import psycopg

from monitor.postgres import EmbeddedPostgres
from monitor.postgres.process import live_postmaster
from tests.inbox import Inbox
from tests.loopback import PLAIN, unused_port

T = TypeVar("T")

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0
"""Seconds in which what must come about has to; how fast is not the question."""

CONFIG = """
[capture]
target_per_day = 100_000_000      # keep every record

[database.embedded]
shared_buffers = "16MB"

[schedule]
tick = "100ms"
hard_interval = "1s"
hard_lag = "500ms"
live_interval = "1s"
live_lag = "500ms"
perplexity_interval = "10s"
lease = "3s"
renew = "500ms"

[policy]
page_wait = "1s"
recovery_window = "5s"
recovery_records = 60
insufficient_records = 20

[alerting.grouping]
wait = "0s"
interval = "0s"

[alerting.delivery]
lease = "2s"
poll = "100ms"
retry_after = [RETRIES]

[routing]
cool_down = "5s"
return_hold = "1s"
trial_share = 0.5
trial_hold = "1s"
trial_records = 30
cycle = "1s"
evidence_age = "15s"

[outgoing]
allow = ["127.0.0.0/8"]
""".replace("RETRIES", ", ".join(['"300ms"'] * 60))

SHOWN = 3_000
"""Characters of an answer that are shown beside a failure."""

LAG = 0.6
"""Seconds, a little more than the lags above."""

CALM = {
    "schedule.tick": "1s",
    "schedule.hard_interval": "10s",
    "schedule.live_interval": "10s",
    "alerting.delivery.poll": "1s",
    "routing.cycle": "10s",
}
"""For services that many tests ask and none waits for: they leave the machine to others."""

CHANNEL = """
[[channels]]
name = "on-call"
kind = "webhook"
url_env = "TEST_WEBHOOK_URL"
secret_env = "TEST_WEBHOOK_SECRET"
"""


def until(condition: Callable[[], T | None], what: str, *, patience: float = PATIENCE) -> T:
    """Wait for a result that is neither None nor False nor empty, and return it."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found is not None and found is not False and found != []:
            return found
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        time.sleep(0.05)


@dataclass
class Service:
    """``monitor serve`` on a folder of its own; ``changes`` are config keys by dotted path."""

    folder: Path
    inbox: Inbox | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    config: str = CONFIG
    """Its file; the folder and the port come from its environment."""
    channels: str = ""
    """Entries of ``[[channels]]`` beside the inbox, read at each start."""
    key: str = ""
    port: int = field(default_factory=unused_port)
    role: str = "all"
    prefix: Sequence[str] = ()
    """A command that runs it, such as one that lowers limits."""
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _stop_begun: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    # --- the process ------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.toml"
        config.write_text(self.config + (CHANNEL if self.inbox else "") + self.channels)
        words = ("-c", str(config), "--role", self.role)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "monitor", "serve", *words],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=self.environ(),
            )
        self.starts += 1

    def wait_ready(self) -> None:
        until(self.ready, "ready")
        if not self.key and (self.data_dir / "admin.key").exists():
            self.key = (self.data_dir / "admin.key").read_text().strip()

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        self._send(signal.SIGKILL)

    def terminate(self) -> float:
        """SIGTERM; give the seconds until it had ended, and leave nothing behind."""
        self.begin_stop()
        return self.wait_for_end()

    def begin_stop(self) -> None:
        """SIGTERM, without waiting."""
        self._stop_begun = time.monotonic()
        self._send(signal.SIGTERM, wait=False)

    def wait_for_end(self) -> float:
        """Give the seconds since :meth:`begin_stop` when it has ended."""
        assert self.process is not None
        self.process.wait(PATIENCE)
        return time.monotonic() - self._stop_begun

    def restart(self) -> None:
        self.kill()
        self.start()

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster: what an immediate restart is to its clients."""
        found = live_postmaster(self.data_dir / "postgres" / "cluster")
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)

    def clear_away(self) -> None:
        """End whatever is left, the embedded server of a killed service included."""
        if self.alive:
            self._send(signal.SIGCONT, wait=False)
            self._send(signal.SIGTERM)
        if live_postmaster(self.data_dir / "postgres" / "cluster") is not None:
            with EmbeddedPostgres(self.data_dir):
                pass

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def account(self) -> str:
        """Say what it knows of its incidents, actions and adapters, newest first, and its log.

        A service that does not answer costs one timeout, and raises nothing: a test has failed.
        """
        told: list[str] = []
        try:
            told.extend(self._known())
        except (httpx2.HTTPError, OSError, ValueError, LookupError) as error:
            told.append(f"it does not say more: {error!r}")
        log = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        odd = [line for line in log if '"level": "info"' not in line]
        return "\n".join([*told, *odd[-20:]])

    def _known(self) -> Iterator[str]:
        if not self.alive:
            return
        for path in ("/v1/incidents", "/v1/actions", "/v1/deliveries"):
            yield f"{path}: {self.call('GET', path).text[:SHOWN]}"
        for item in self.call("GET", "/v1/adapters").json().get("items", ()):
            adapter = f"/v1/adapters/{quote(item['adapter'], safe='')}"
            yield f"{adapter}/breaker: {self.call('GET', adapter + '/breaker').text[:SHOWN]}"
            found = self.call("GET", f"{adapter}/evaluations", params={"limit": 40}).json()
            for one in found.get("items", ()):
                words = ("kind", "started_at", "state", "n_records", "verdict", "reason")
                yield " ".join(str(one.get(word)) for word in words)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log records of one event."""
        return [
            record
            for line in self.log.read_text(errors="replace").splitlines()
            if line.startswith("{")
            for record in [json.loads(line)]
            if record.get("event") == name
        ]

    def _send(self, number: signal.Signals, *, wait: bool = True) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if wait:
            self.process.wait(PATIENCE)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended:\n{self.tail()}"
        with contextlib.suppress(httpx2.TransportError):
            said = httpx2.get(f"{self.url}/readyz", timeout=5, trust_env=False, verify=PLAIN)
            return said.is_success
        return False

    def environ(self) -> dict[str, str]:
        own = {
            "DRIFTLINE_SERVICE__DATA_DIR": str(self.data_dir),
            "DRIFTLINE_SERVER__PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
        }
        for path, value in self.changes.items():
            own["DRIFTLINE_" + path.upper().replace(".", "__")] = value
        if self.inbox is not None:
            own |= {
                "TEST_WEBHOOK_URL": self.inbox.url,
                "TEST_WEBHOOK_SECRET": self.inbox.secret,
            }
        return os.environ | own

    # --- what people do with it -------------------------------------------------------

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """One request on a connection of its own, so that no restart leaves a dead one."""
        headers = {"authorization": f"Bearer {self.key}"} | more.pop("headers", {})
        return httpx2.request(
            method,
            self.url + path,
            headers=headers,
            timeout=90,
            trust_env=False,
            verify=PLAIN,
            **more,
        )

    def get(self, path: str, **params: Any) -> Any:
        """Read, again while the service says that its database does not answer now."""

        def answered() -> httpx2.Response | None:
            answer = self.call("GET", path, params=params)
            return None if answer.status_code == 503 else answer

        found = until(answered, f"an answer to GET {path}")
        assert found.is_success, found.text
        return found.json()

    def put(self, path: str, body: Mapping[str, Any], **headers: str) -> Any:
        answer = self.call("PUT", path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def register(self, adapter: str, version: str, **fields: Any) -> None:
        self.put(f"/v1/adapters/{adapter}/versions/{version}", fields)

    def upload(self, adapter: str, version: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Upload a reference and wait until it is in force."""
        path = f"/v1/adapters/{adapter}/versions/{version}/reference"
        answer = self.call("POST", path, content=ndjson(lines), headers=NDJSON)
        assert answer.status_code == 202, answer.text

        def built() -> bool:
            found = self.get(path)["items"][0]
            assert found["state"] != "failed", found["error"]
            return bool(found["state"] == "ready")

        until(built, f"the reference of {adapter}@{version}", patience=280)

    def send(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Send records, all of which must be taken in."""
        answer = self.call("POST", "/v1/records", content=ndjson(records), headers=NDJSON)
        assert answer.status_code == 202, answer.text
        assert answer.json() == {
            "accepted": len(records),
            "duplicates": 0,
            "sampled_out": 0,
            "held": [],
            "rejected": [],
        }

    def verdict(self, adapter: str) -> str:
        return str(self.get(f"/v1/adapters/{adapter}")["verdict"])

    def evaluate(self, adapter: str) -> Any:
        """Run the live detectors over what has come so far: a window is read a lag later."""
        time.sleep(LAG)
        answer = self.call("POST", f"/v1/adapters/{adapter}/evaluations", params={"wait": 60})
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextmanager
    def stored(self) -> Iterator[psycopg.Connection]:
        """Look into the embedded database."""
        with (
            EmbeddedPostgres(self.data_dir) as server,
            psycopg.connect(server.conninfo, autocommit=True) as connection,
        ):
            yield connection


@contextmanager
def running(folder: Path, **fields: Any) -> Iterator[Service]:
    """Run a service; the end of its log is printed when the body fails."""
    service = Service(folder=folder, **fields)
    try:
        service.start()
        yield service
    except BaseException:
        print(service.tail())  # pytest shows it beside the failure
        raise
    finally:
        service.clear_away()


# --- records without a model --------------------------------------------------------------

NDJSON = {"content-type": "application/x-ndjson"}


def ndjson(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def answer_logprobs(rng: np.random.Generator, shift: float = 0.0) -> list[float]:
    """Log-probabilities of one answer of 30 tokens; .2 is an sd of the mean NLL."""
    mean = max(0.01, float(rng.gamma(4.0, 0.1)) + shift * 0.2)
    return [round(float(x), 4) for x in -rng.exponential(mean, 30)]


def answered(rng: np.random.Generator, *, shift: float = 0.0) -> dict[str, Any]:
    return {
        "output": "a short and friendly answer to the question",
        "token_logprobs": answer_logprobs(rng, shift),
    }


def baseline(count: int, *, days: float = 15.0, seed: int = 1) -> list[dict[str, Any]]:
    """A quiet fortnight up to a minute ago; at 1,000 records and 14 days it may page."""
    rng = np.random.default_rng(seed)
    end = datetime.now(UTC) - timedelta(minutes=1)
    step = timedelta(days=days) / count
    return [
        {
            "role": "baseline",
            "id": f"b{number}",
            "at": (end - (count - number) * step).isoformat(),
            **answered(rng),
        }
        for number in range(count)
    ]


@dataclass
class Talk:
    """Live records of one adapter with ids that never repeat."""

    adapter: str
    seed: int = 7
    sent: int = 0

    def records(self, count: int, *, shift: float = 0.0, **more: Any) -> list[dict[str, Any]]:
        """``count`` answers of now whose mean NLL is ``shift`` sd above the baseline's."""
        rng = np.random.default_rng((self.seed, self.sent))
        now = datetime.now(UTC).isoformat()
        first, self.sent = self.sent, self.sent + count
        return [
            {
                "id": f"{self.adapter}-{number}",
                "adapter": self.adapter,
                "at": now,
                **answered(rng, shift=shift),
                **more,
            }
            for number in range(first, first + count)
        ]
