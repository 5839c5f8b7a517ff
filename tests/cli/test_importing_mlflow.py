"""`import mlflow`: models, versions and aliases of an MLflow server, and the files of adapters."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest

from examples.weights import DemoAdapter
from monitor.domain import Scope
from monitor.probes.weights.described import dataset_hash
from monitor.store.database import Database
from tests.cli.command import Ran, driftline, failed
from tests.loopback import unused_port
from tests.service import until
from tests.serving import Serving, serving

SOUND = DemoAdapter.SUPPORT_V1.path
ROOT = Path(__file__).parents[2]


@dataclass
class FakeMlflow:
    """A registry as MLflow answers, with artifacts of one folder."""

    artifacts: Path
    models: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: set[str | None] = field(default_factory=set)

    def answer(self, path: str, asked: dict[str, str]) -> tuple[int, bytes]:
        api = path.removeprefix("/api/2.0/")
        if api.startswith("mlflow-artifacts/artifacts/"):
            file = self.artifacts / unquote(api.removeprefix("mlflow-artifacts/artifacts/"))
            return (200, file.read_bytes()) if file.is_file() else (404, b"{}")
        found = self._json(api, asked)
        if found is None:
            return 404, json.dumps({"message": f"{asked} is not here"}).encode()
        return 200, json.dumps(found).encode()

    def _json(self, api: str, asked: dict[str, str]) -> Any:  # noqa: PLR0911 (a table)
        match api:
            case "mlflow/registered-models/search":
                names = sorted(self.models)
                start = int(asked.get("page_token", 0))  # two a page
                more = {"next_page_token": str(start + 2)} if start + 2 < len(names) else {}
                return {
                    "registered_models": list(map(self._model, names[start : start + 2]))
                } | more
            case "mlflow/registered-models/get":
                known = asked["name"] in self.models
                return {"registered_model": self._model(asked["name"])} if known else None
            case "mlflow/model-versions/search":
                name = asked["filter"].removeprefix("name='").removesuffix("'")
                return {"model_versions": self.models[name.replace("''", "'")]}
            case "mlflow/model-versions/get-download-uri":
                kept = f"mlflow-artifacts:/{asked['name']}/{asked['version']}"
                own = self.models[asked["name"]][int(asked["version"]) - 1]
                return {"artifact_uri": own.get("source", kept)}
            case "mlflow/runs/get":
                info = {"artifact_uri": f"mlflow-artifacts:/runs/{asked['run_id']}"}
                return {"run": {"data": self.runs[asked["run_id"]], "info": info}}
            case "mlflow-artifacts/artifacts":
                folder = self.artifacts / asked["path"]
                each = sorted(folder.iterdir()) if folder.is_dir() else []
                return {"files": [{"path": o.name, "is_dir": o.is_dir()} for o in each]}
            case _:
                return None

    def _model(self, name: str) -> dict[str, Any]:
        aliases = self.aliases.get(name, {})
        return {"name": name, "aliases": [{"alias": a, "version": v} for a, v in aliases.items()]}

    @contextmanager
    def served(self) -> Iterator[str]:
        own = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                own.keys.add(self.headers["authorization"])
                parts = urlsplit(self.path)
                asked = {name: each[0] for name, each in parse_qs(parts.query).items()}
                status, body = own.answer(parts.path, asked)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()


def version(name: str, number: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "version": str(number), "status": "READY", **more}


@pytest.fixture
def registry(tmp_path: Path) -> FakeMlflow:
    """Three models; two versions of support, of which the second is the champion."""
    artifacts = tmp_path / "artifacts"
    for number in ("1", "2"):
        (artifacts / "support" / number / "peft").parent.mkdir(parents=True)
        (artifacts / "support" / number / "peft").symlink_to(SOUND)
    (artifacts / "support" / "1" / "python_model.pkl").write_bytes(b"never read")
    return FakeMlflow(
        artifacts=artifacts,
        models={
            "support": [
                version("support", 1, run_id="r1"),
                version("support", 2),
                version("support", 3, status="FAILED_REGISTRATION"),
            ],
            "booking": [version("booking", 1, source="s3://models/booking/1")],
            "travel": [],
        },
        aliases={"support": {"champion": "2"}},
        runs={
            "r1": {
                "params": [{"key": "learning_rate", "value": "0.0002"}],
                "metrics": [{"key": "eval_loss", "value": 0.31}],
            }
        },
    )


def test_models_versions_and_aliases_are_registered_and_followed(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    into = tmp_path / "fetched"
    with serving(database, tmp_path) as service, registry.served() as url:
        key = {"MLFLOW_TRACKING_TOKEN": "t0ken"}
        first = _import(service, url, "--folder", str(into), **key)
        again = _import(service, url, "--folder", str(into))
        registry.aliases["support"] = {"champion": "1", "challenger": "2"}
        moved = _import(service, url, "--model", "support")
        with service.client(Scope.READ) as client:
            found = {
                name: client.get(f"/v1/adapters/{name}").json() for name in ("support", "booking")
            }
            one = client.get("/v1/adapters/support/versions/v1").json()
            route = client.get("/v1/routes/support").json()
    assert (first.code, again.code, moved.code) == (0, 0, 0), (first, again, moved)
    assert "support@v2 is registered" in first.out
    assert again.out == ""
    assert moved.out == "support: aliases changed: champion is v1, challenger is v2\n"
    assert {o["version"] for o in found["support"]["versions"]} == {"v1", "v2"}
    assert found["support"]["labels"] == {
        "mlflow.alias.champion": "v1",
        "mlflow.alias.challenger": "v2",
    }
    assert route["arms"][0]["version"] == "v2", "the alias of then, and a label moves no traffic"
    assert one["metadata"]["hyper_parameters"]["learning_rate"] == "0.0002"
    assert one["metadata"]["metrics"]["eval_loss"] == 0.31
    assert one["uri"] == str(into / "support@v1")
    assert sorted(path.name for path in (into / "support@v1").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert found["booking"]["versions"][0]["uri"] == "s3://models/booking/1"
    assert "Bearer t0ken" in registry.keys


def test_a_dataset_among_a_runs_artifacts_is_hashed_as_its_files_are(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    data = registry.artifacts / "runs" / "r1" / "data"
    (data / "more").mkdir(parents=True)
    (data / "a.jsonl").write_text("one")
    (data / "more" / "b.jsonl").write_text("two")
    registry.models["booking"] = [version("booking", 1, run_id="r1")]
    with serving(database, tmp_path) as service, registry.served() as url:
        whole = _import(service, url, "--model", "support", "--dataset", "data")
        single = _import(service, url, "--model", "booking", "--dataset", "data/a.jsonl")
        registry.models["travel"] = [version("travel", 1, run_id="r1")]
        none = _import(service, url, "--model", "travel", "--dataset", "nothing")
        with service.client(Scope.READ) as client:
            found = {
                name: client.get(f"/v1/adapters/{name}/versions/v1").json()["metadata"]
                for name in ("support", "booking")
            }
    assert (whole.code, single.code) == (0, 0), (whole, single)
    assert found["support"]["training_data_hash"] == dataset_hash([data])
    assert found["booking"]["training_data_hash"] == dataset_hash([data / "a.jsonl"])
    assert none.code == 0
    assert "travel@v1 is registered" in none.out
    assert "travel@v1: its run has no nothing" in none.err


def test_a_dataset_of_which_a_file_is_gone_gets_no_hash_of_the_rest(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    data = registry.artifacts / "runs" / "r1" / "data"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text("one")
    (data / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    with serving(database, tmp_path) as service, registry.served() as url:
        ran = _import(service, url, "--model", "support", "--dataset", "data")
    assert ran.code == 1
    assert "data/gone.jsonl is listed and not there" in ran.out


def test_a_version_that_is_registered_stays_as_it_is(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    with serving(database, tmp_path) as service, registry.served() as url:
        with service.client(Scope.ADMIN) as client:
            client.put("/v1/adapters/booking/versions/v1", json={"uri": "s3://models/other"})
        ran = _import(service, url, "--model", "booking")
        with service.client(Scope.READ) as client:
            found = client.get("/v1/adapters/booking/versions/v1").json()
    assert ran.code == 0
    assert found["uri"] == "s3://models/other"


def test_a_place_on_this_machine_is_read_only_within_the_named_folder(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    inside = registry.artifacts / "support" / "1"
    registry.models = {
        "in": [version("in", 1, source=inside.as_uri())],
        "out": [version("out", 1, source=SOUND.as_uri())],
    }
    (inside / "peft").unlink()
    (inside / "peft").mkdir()
    for file in SOUND.iterdir():
        (inside / "peft" / file.name).write_bytes(file.read_bytes())
    with serving(database, tmp_path) as service, registry.served() as url:
        ran = _import(service, url, "--artifacts", str(registry.artifacts))
        with service.client(Scope.READ) as client:
            found = {
                name: client.get(f"/v1/adapters/{name}/versions/v1").json()
                for name in ("in", "out")
            }
    assert ran.code == 0, ran
    assert found["in"]["uri"] == str((inside / "peft").resolve())
    assert found["in"]["sha256"]
    assert found["out"]["uri"] == SOUND.as_uri()
    assert found["out"]["sha256"] is None


def test_what_is_refused_keeps_no_other_model_from_its_registration(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    (tmp_path / "file").touch()
    registry.models = {
        "aliased": [version("aliased", 1, source="s3://models/aliased/1")],
        "bad": [
            version("bad", 1, source="//["),
            version("bad", 2, source="file:///a%00b"),
            version("bad", 3),
        ],
        "l" * 200: [],
        "last": [version("last", 1, source="s3://models/last/1")],
    }
    (registry.artifacts / "bad" / "3").mkdir(parents=True)
    (registry.artifacts / "bad" / "3" / "adapter_config.json").write_text("{}")
    registry.aliases = {"aliased": {"a" * 200: "1"}}
    with serving(database, tmp_path) as service, registry.served() as url:
        words = ("--folder", str(tmp_path / "file"), "--artifacts", str(tmp_path))
        ran = _import(service, url, *words)
        with service.client(Scope.READ) as client:
            found = client.get("/v1/adapters").json()["items"]
    assert ran.code == 1
    assert {one["adapter"] for one in found} == {"aliased", "last"}
    for said in (
        "aliased: ",
        "bad@v1: '//[' is no place of artifacts",
        "bad@v2: 'file:///a%00b' is no place of artifacts",
        f"bad@v3: {tmp_path / 'file' / 'bad@v3'}: Not a directory",
        f"{'l' * 200}: ",
    ):
        assert f"\n{said}" in f"\n{ran.out}", (said, ran.out)


def test_a_server_that_is_none_is_said_to_be_so(
    database: Database, tmp_path: Path, registry: FakeMlflow
) -> None:
    with serving(database, tmp_path) as service, registry.served() as url:
        failed(_import(service, f"http://127.0.0.1:{unused_port()}"), "cannot reach http://127")
        failed(_import(service, url, "--model", "none"), "HTTP 404", "is not here")
        failed(_import(service, service.url), "HTTP 404")
        failed(_import(service, "no address"), "no address")


def _import(service: Serving, url: str, *words: str, **environ: str) -> Ran:
    told = {"DRIFTLINE_URL": service.url, "DRIFTLINE_KEY": service.keys[Scope.ADMIN]}
    return driftline("import", "mlflow", url, *words, environ=told | environ)


# --- a real server --------------------------------------------------------------------------

PINNED = "mlflow==3.17.2"
REGISTER = """\
import sys, mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
client.create_registered_model("support")
with mlflow.start_run() as run:
    mlflow.log_params({"learning_rate": 2e-4})
    mlflow.log_metric("eval_loss", 0.31)
    mlflow.log_artifacts(sys.argv[2], "peft")
source = f"{run.info.artifact_uri}/peft"
for _ in range(2):
    client.create_model_version("support", source, run_id=run.info.run_id)
client.set_registered_model_alias("support", "champion", "2")
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_real_server_is_followed(database: Database, tmp_path: Path) -> None:
    interpreter = mlflow_python()
    port = unused_port()
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    command = [
        *(str(interpreter), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--workers", "1"),
        *("--artifacts-destination", str(tmp_path / "mlartifacts")),
    ]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environ, cwd=tmp_path) as server:
        try:
            until(lambda: _healthy(url), "MLflow answers", patience=120)
            script = [str(interpreter), "-c", REGISTER, url, str(SOUND)]
            subprocess.run(script, env=environ, check=True)
            with serving(database, tmp_path) as service:
                words = ("--folder", str(tmp_path / "fetched"), "--dataset", "peft")
                ran = _import(service, url, *words)
                with service.client(Scope.READ) as client:
                    found = client.get("/v1/adapters/support").json()
                    one = client.get("/v1/adapters/support/versions/v1").json()
        finally:
            server.terminate()
    assert ran.code == 0, ran
    assert found["labels"] == {"mlflow.alias.champion": "v2"}
    assert one["sha256"]
    assert one["metadata"]["metrics"]["eval_loss"] == 0.31
    assert one["metadata"]["training_data_hash"] == dataset_hash([SOUND])


def mlflow_python() -> Path:
    """An interpreter with MLflow, in an environment of its own."""
    folder = ROOT / ".venv-mlflow"
    interpreter, marker = folder / "bin" / "python", folder / "installed.txt"
    if not marker.exists() or marker.read_text() != PINNED + sys.version:
        venv.create(folder, clear=True, symlinks=True, with_pip=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", PINNED], check=True)
        marker.write_text(PINNED + sys.version)
    return interpreter


def _healthy(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health", trust_env=False).is_success
    except httpx2.TransportError:
        return False
