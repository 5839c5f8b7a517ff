"""Set the stage: processes, registrations, baselines, traffic; and clear it away again."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.progress import Progress, TaskID

from examples.demo.baselines import RECORDS, make_baseline, upload_baseline
from examples.demo.cast import GOOD_RELEASE, IN_CHARGE, VERSIONS, Version
from examples.demo.driftline_client import DriftlineClient, Reference
from examples.demo.engine_client import EngineClient
from examples.demo.lookout import Lookout
from examples.demo.narrator import Narrator
from examples.demo.processes import Process, Processes, free_port
from examples.demo.receiver import Receiver, new_secret
from examples.demo.stage import Stage
from examples.demo.traffic import Traffic
from examples.texts import ADAPTER_DOMAINS, corpus

CONFIG: Final = Path(__file__).parent / "demo.toml"
USUAL_PORT: Final = 8440
USUAL_GATEWAY_PORT: Final = 8441
DOCUMENTS_PER_DOMAIN: Final = 10
ANSWERING: Final = 2
"""Versions whose baselines are made at the same time: one core answers, the other embeds."""
START_S: Final = 300.0
BUILD_S: Final = 600.0


class SettingError(RuntimeError):
    """The stage could not be set; the text says what is missing."""


@contextmanager
def open_stage(narrator: Narrator) -> Iterator[Stage]:
    """Set the stage and give it; everything is ended and removed afterwards.

    After an error the folder with the logs stays, and the narrator says where it is.
    """
    folder = Path(tempfile.mkdtemp(prefix="driftline-demo-"))
    try:
        with ExitStack() as stack:
            processes = stack.enter_context(Processes(folder))
            try:
                yield _set(narrator, folder, stack, processes)
            except Exception:
                _show_logs(narrator, processes)
                raise
    except Exception:
        shutil.rmtree(folder / "data", ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _set(narrator: Narrator, folder: Path, stack: ExitStack, processes: Processes) -> Stage:
    receiver = stack.enter_context(Receiver(free_port(), secret=(secret := new_secret())))
    engine_url = f"http://127.0.0.1:{free_port()}"
    port, gateway_port = free_port(USUAL_PORT), free_port(USUAL_GATEWAY_PORT)
    dashboard = f"http://127.0.0.1:{port}"
    narrator.say("starting the engine and Driftline with an embedded PostgreSQL …")
    engine_process = _start_engine(processes, engine_url)
    environ = _environ(folder, port=port, gateway_port=gateway_port, engine_url=engine_url)
    environ |= {"DEMO_WEBHOOK_URL": receiver.url, "DEMO_WEBHOOK_SECRET": secret}
    driftline = processes.start(
        "driftline", ["monitor", "serve", "-c", str(CONFIG)], environ=environ
    )
    driftline.wait_until_ready(f"{dashboard}/readyz", seconds=START_S)
    engine_process.wait_until_ready(f"{engine_url}/health", seconds=START_S)
    key = (folder / "data" / "admin.key").read_text(encoding="utf-8").strip()
    narrator.say(f"dashboard: {dashboard}  key: {key}", style="bold")
    engine = stack.enter_context(EngineClient(engine_url))
    client = stack.enter_context(DriftlineClient(dashboard, key=key))
    _register(client)
    _make_references(narrator, engine, client, processes)
    gateway_url = f"http://127.0.0.1:{gateway_port}"
    gateway = processes.start("gateway", ["monitor", "gateway", "-c", str(CONFIG)], environ=environ)
    gateway.wait_until_ready(f"{gateway_url}/readyz", seconds=START_S)
    narrator.say(f"clients ask the gateway at {gateway_url} for support, booking and travel")
    traffic = stack.enter_context(Traffic(gateway_url=gateway_url))
    return Stage(
        narrator=narrator,
        processes=processes,
        engine=engine,
        client=client,
        receiver=receiver,
        traffic=traffic,
        lookout=Lookout(processes=processes, traffic=traffic, receiver=receiver, client=client),
        folder=folder,
        config=CONFIG,
        dashboard=dashboard,
        key=key,
    )


def _start_engine(processes: Processes, url: str) -> Process:
    served = [
        f"--adapter={version.model}={version.weights}" for version in (*VERSIONS, GOOD_RELEASE)
    ]
    port = url.rpartition(":")[2]
    environ = {"OMP_NUM_THREADS": "1"}
    return processes.start("engine", ["examples.engine", "--port", port, *served], environ=environ)


def _environ(folder: Path, *, port: int, gateway_port: int, engine_url: str) -> dict[str, str]:
    documents = folder / "demo.jsonl"
    documents.write_text("".join(_corpus_lines()), encoding="utf-8")
    return {
        "DRIFTLINE_SERVICE__DATA_DIR": str(folder / "data"),
        "DRIFTLINE_SERVER__PORT": str(port),
        "DRIFTLINE_GATEWAY__PORT": str(gateway_port),
        "DRIFTLINE_SERVING__ENGINES": json.dumps([engine_url]),
        "DRIFTLINE_PROBES__PERPLEXITY__CORPUS": str(documents),
    }


def _corpus_lines() -> Iterator[str]:
    for domain in ADAPTER_DOMAINS:
        for number, text in enumerate(corpus(domain, DOCUMENTS_PER_DOMAIN)):
            yield json.dumps({"id": f"{domain}-{number:02}", "text": text}) + "\n"


def _register(client: DriftlineClient) -> None:
    for version in (*VERSIONS, GOOD_RELEASE):
        client.register(version.adapter, version.name, model=version.model, parent=version.parent)
    for adapter, name in IN_CHARGE.items():
        client.route_all_to(adapter, name, reason="the demo begins")


def _make_references(
    narrator: Narrator, engine: EngineClient, client: DriftlineClient, processes: Processes
) -> None:
    narrator.say(
        f"each version answers {RECORDS:,} held-out questions, stamped over the last 14 days:"
        " its baseline"
    )
    with narrator.counting() as progress, ThreadPoolExecutor(ANSWERING) as pool:
        answered = [
            pool.submit(_answer_and_upload, version, engine, client, progress)
            for version in VERSIONS
        ]
        for future in answered:
            future.result()
        for version in VERSIONS:
            _require_built(version, client, progress, processes)


def _answer_and_upload(
    version: Version, engine: EngineClient, client: DriftlineClient, progress: Progress
) -> None:
    task = progress.add_task(f"{version.model} answers", total=RECORDS)
    baseline = make_baseline(version, engine, advance=lambda count: progress.advance(task, count))
    upload_baseline(version, baseline, client)


def _require_built(
    version: Version, client: DriftlineClient, progress: Progress, processes: Processes
) -> None:
    task = progress.add_task(f"{version.model} reference is built", total=100)
    reference = _built(version, client, progress, task, processes)
    if reference.provisional:
        raise SettingError(
            f"the reference of {version.model} is provisional: {reference.n_baseline} records"
            f" over {reference.span_days:.1f} days"
        )


def _built(
    version: Version,
    client: DriftlineClient,
    progress: Progress,
    task: TaskID,
    processes: Processes,
) -> Reference:
    deadline = time.monotonic() + BUILD_S
    while time.monotonic() < deadline:
        processes.require_alive()
        reference = client.reference(version.adapter, version.name)
        if reference is not None:
            progress.update(task, completed=100 * reference.progress)
            if reference.state == "ready":
                progress.update(task, completed=100)
                return reference
            if reference.state == "failed":
                raise SettingError(f"the reference of {version.model} failed: {reference.error}")
        time.sleep(0.5)
    raise SettingError(f"the reference of {version.model} was not built in {BUILD_S:.0f} s")


def _show_logs(narrator: Narrator, processes: Processes) -> None:
    for process in processes:
        narrator.title(f"{process.name}: last lines of {process.log}")
        narrator.console.print(process.tail(), markup=False)
