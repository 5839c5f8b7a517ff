"""Read the models of an MLflow registry by its REST API, and fetch the files of adapters.

https://mlflow.org/docs/latest/rest-api.html

Of artifacts only the JSON, template and safetensors files of an adapter are fetched, each up to a
limit. Nothing is unpickled, and no code of a model is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

import httpx2
import msgspec

from monitor.artifacts.wanted import WANTED as ADAPTERS
from monitor.cli.failures import CommandFailed, NotAnswering
from monitor.probes.weights.adapter_folder import CONFIG
from monitor.probes.weights.described import MOST_FILES, dataset_of

Shape = TypeVar("Shape")

API: Final = "/api/2.0"
PATIENCE: Final = 60.0
PAGE: Final = 100
LARGEST_ANSWER: Final = 32 << 20
MOST_VERSIONS: Final = 10_000
PROXIED: Final = "mlflow-artifacts"
WANTED: Final[Mapping[str, int]] = {
    **ADAPTERS,
    "tokenizer.json": 64 << 20,
    "tokenizer_config.json": 64 << 20,
    "chat_template.jinja": 1 << 20,
    "trainer_state.json": 64 << 20,
}
"""Files of an adapter, and the most bytes of each."""
DEEPEST: Final = 3
"""Folders below the model's own in which an adapter is looked for."""
MOST_FOLDERS: Final = 100


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A name that points to a version."""

    alias: str
    version: str


class RegisteredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the registry."""

    name: str
    aliases: list[Alias] = []


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model; ``run_id`` is empty where no run made it."""

    name: str
    version: str
    status: str = "READY"
    run_id: str = ""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    is_dir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowRun:
    """The parameters of a run, the last of each of its numbers, and the place of its artifacts."""

    params: Mapping[str, str]
    metrics: Mapping[str, float]
    place: str


class MlflowRegistry:
    """One MLflow server.

    Name and password or token come from ``MLFLOW_TRACKING_USERNAME``, ``MLFLOW_TRACKING_PASSWORD``
    and ``MLFLOW_TRACKING_TOKEN``, as for MLflow's own client. Every method may raise
    ``CommandFailed``, and ``NotAnswering`` where the server cannot be reached.
    """

    def __init__(self, url: str, *, environ: Mapping[str, str] | None = None) -> None:
        given = os.environ if environ is None else environ
        token, name = given.get("MLFLOW_TRACKING_TOKEN"), given.get("MLFLOW_TRACKING_USERNAME")
        self._url = url.rstrip("/")
        try:
            self._http = httpx2.Client(
                base_url=f"{self._url}{API}",
                headers={"authorization": f"Bearer {token}"} if token else {},
                auth=(name, given.get("MLFLOW_TRACKING_PASSWORD", "")) if name else None,
                timeout=PATIENCE,
                trust_env=False,
            )
        except httpx2.InvalidURL as error:
            raise CommandFailed(f"{url}: no address of an MLflow server ({error})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def models(self) -> Iterator[RegisteredModel]:
        """Yield every model, page after page."""
        yield from self._pages(
            "/mlflow/registered-models/search", "registered_models", RegisteredModel
        )

    def model(self, name: str) -> RegisteredModel:
        """Return one model by name."""
        answer = self._get("/mlflow/registered-models/get", name=name)
        return _read(answer.get("registered_model"), RegisteredModel)

    def versions(self, name: str) -> list[ModelVersion]:
        """Return a model's finished versions, oldest first."""
        escaped = name.replace("'", "''")
        found = self._pages(
            "/mlflow/model-versions/search",
            "model_versions",
            ModelVersion,
            filter=f"name='{escaped}'",
        )
        ready = [one for one in found if one.status == "READY" and one.version.isdecimal()]
        return sorted(ready, key=lambda one: int(one.version))

    def run(self, run_id: str) -> MlflowRun:
        """Return a run's parameters and last metrics."""
        found = self._get("/mlflow/runs/get", run_id=run_id).get("run", {})
        try:
            data, info = found.get("data", {}), found.get("info", {})
            return MlflowRun(
                params={one["key"]: str(one["value"]) for one in data.get("params", ())},
                metrics={one["key"]: float(one["value"]) for one in data.get("metrics", ())},
                place=_place(info),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CommandFailed(f"{self._url}: run {run_id} is not as MLflow writes it") from None

    def place(self, of: ModelVersion) -> str:
        """Return where a version's artifacts are kept."""
        answer = self._get(
            "/mlflow/model-versions/get-download-uri", name=of.name, version=of.version
        )
        return _place(answer)

    def fetch(self, place: str, into: Path) -> Path | None:
        """Fetch a place's adapter into a folder; None: there is none, or the server lacks it."""
        parts = urlsplit(place)
        if parts.scheme != PROXIED:
            return None
        root = self._adapter_in(parts.path.strip("/"))
        if root is None:
            return None
        into.mkdir(parents=True, exist_ok=True)
        for one in self._listed(root):
            name = posixpath.basename(one.path)
            if not one.is_dir and name in WANTED:
                self._download(f"{root}/{name}", into / name, most=WANTED[name])
        return into

    def dataset(self, run: MlflowRun, name: str) -> str | None:
        """Hash a file or folder among a run's artifacts; None: the server does not have it."""
        parts = urlsplit(run.place)
        if parts.scheme != PROXIED:
            return None
        root = f"{parts.path.strip('/')}/{name.strip('/')}"
        files = sorted(self._files(root))
        if not files:
            return self._sum(root)
        sums = {path: self._sum(path) for path in files}
        if gone := [path for path, total in sums.items() if total is None]:
            raise CommandFailed(f"{self._url}: {gone[0]} is listed and not there")
        return dataset_of(
            [(path.removeprefix(f"{root}/"), total) for path, total in sums.items() if total]
        )

    def _files(self, folder: str) -> Iterator[str]:
        """Yield all files below a folder."""
        left, count = [folder], 0
        while left:
            inside = left.pop()
            for one in self._listed(inside):
                path = f"{inside}/{posixpath.basename(one.path)}"
                count += 1
                if count > MOST_FILES:
                    raise CommandFailed(f"{self._url}: {folder} has more than {MOST_FILES:,} files")
                if one.is_dir:
                    left.append(path)
                else:
                    yield path

    def _sum(self, path: str) -> str | None:
        """Hash a file; None if there is none."""
        total = hashlib.sha256()
        with (
            self._reached(),
            self._http.stream("GET", f"/mlflow-artifacts/artifacts/{quote(path)}") as answer,
        ):
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return None
            if not answer.is_success:
                raise CommandFailed(f"{self._url}: {path}: HTTP {answer.status_code}")
            for chunk in answer.iter_bytes():
                total.update(chunk)
        return total.hexdigest()

    def _adapter_in(self, root: str) -> str | None:
        """Find the folder with an adapter's config, level by level."""
        level, looked_at = [root], 0
        for _ in range(DEEPEST + 1):
            below: list[str] = []
            for folder in level[: MOST_FOLDERS - looked_at]:
                files = self._listed(folder)
                looked_at += 1
                if any(posixpath.basename(one.path) == CONFIG for one in files):
                    return folder
                below += [f"{folder}/{posixpath.basename(o.path)}" for o in files if o.is_dir]
            level = below
        return None

    def _listed(self, folder: str) -> list[_File]:
        answer = self._get("/mlflow-artifacts/artifacts", path=folder)
        return _read(answer.get("files", []), list[_File])

    def _download(self, path: str, target: Path, *, most: int) -> None:
        """Write a file whole or not at all; one that is there already stays."""
        if target.exists():
            return
        part = target.with_suffix(f"{target.suffix}.part")
        with (
            self._reached(),
            self._http.stream("GET", f"/mlflow-artifacts/artifacts/{quote(path)}") as answer,
            part.open("wb") as file,
        ):
            if not answer.is_success:
                raise CommandFailed(f"{self._url}: {path}: HTTP {answer.status_code}")
            for chunk in answer.iter_bytes():
                if file.tell() + len(chunk) > most:
                    raise CommandFailed(f"{self._url}: {path} is larger than {most:,} bytes")
                file.write(chunk)
        part.rename(target)

    def _pages(self, path: str, field: str, shape: type[Any], **parameters: str) -> Iterator[Any]:
        token, count = "", 0
        while True:
            more = {"page_token": token} if token else {}
            answer = self._get(path, max_results=str(PAGE), **parameters, **more)
            for one in _read(answer.get(field, []), list[shape]):  # type: ignore[valid-type]
                count += 1
                if count > MOST_VERSIONS:
                    raise CommandFailed(f"{self._url}: more than {MOST_VERSIONS:,} {field}")
                yield one
            token = str(answer.get("next_page_token") or "")
            if not token:
                return

    def _get(self, path: str, /, **parameters: str) -> Mapping[str, Any]:
        raw = bytearray()
        with self._reached(), self._http.stream("GET", path, params=parameters) as answer:
            for chunk in answer.iter_bytes():
                raw += chunk
                if len(raw) > LARGEST_ANSWER:
                    raise CommandFailed(
                        f"{self._url}: an answer of more than {LARGEST_ANSWER:,} bytes"
                    )
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            body = None
        if not answer.is_success or not isinstance(body, dict):
            said = body.get("message") if isinstance(body, dict) else "not as MLflow answers"
            raise CommandFailed(f"{self._url}{API}{path}: HTTP {answer.status_code}: {said}")
        return body

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx2.HTTPError as error:
            raise NotAnswering(f"cannot reach {self._url} ({error})") from None


def local_adapter(place: str, *, within: Path) -> Path | None:
    """Return the adapter's folder of a place on this machine, the shallowest; None: there is none.

    A server names any place: only what lies within the given folder is looked at.
    """
    parts = urlsplit(place)
    folder = Path(unquote(parts.path)).resolve()
    if parts.scheme not in {"", "file"} or not folder.is_relative_to(within.resolve()):
        return None
    for depth in range(DEEPEST + 1):
        for found in sorted(folder.glob("/".join([*["*"] * depth, CONFIG]))):
            if found.resolve().is_relative_to(folder):
                return found.parent
    return None


def _place(told: Mapping[str, Any]) -> str:
    """Read where artifacts are kept; raises CommandFailed for what is no address."""
    place = str(told.get("artifact_uri", ""))
    try:
        path = unquote(urlsplit(place).path)
    except ValueError:
        path = "\0"
    if "\0" in path:
        raise CommandFailed(f"{place!r} is no place of artifacts")
    return place


def _read(value: object, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise CommandFailed(f"the server answers otherwise than MLflow does ({error})") from None
