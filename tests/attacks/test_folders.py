"""Folders that nobody should trust, compared with a sound one by the worker of `parity`."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import LoraConfig

from examples.weights import DemoAdapter
from monitor.probes.embedding import Dtype
from monitor.probes.errors import FolderRefused
from monitor.probes.local import LocalProbe
from tests.cli.command import driftline
from tests.probes.fake_engine import FakeEngine, serving
from tests.probes.local.probing import CONFIG, WEIGHTS, probing

SOUND = DemoAdapter.SUPPORT_V1.path
TEXTS = ("How do I return a jacket?",)
ROOM = 400.0
"""MiB that the worker may grow by over all of them: what PEFT imports when first needed too."""
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**20, 2**31 - 1, 2**70, 1e308, "", "os", "(a+)+$" * 20, "\x1b[2J\u2028",
    [], ["q_proj"] * 1000, [[0, 10**9]], {"a": 2**31 - 1}, {".*": 2**31 - 1}, {"(a+)+$": 1},
)  # fmt: skip
FIELDS = sorted(
    {field.name for field in dataclasses.fields(LoraConfig)} | {"auto_mapping", "no such field"}
)


@pytest.fixture(scope="module")
def probe() -> Iterator[LocalProbe]:
    with probing(dtype=Dtype.FLOAT32) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOUND, tmp_path / "adapter"))


def resident(probe: LocalProbe, field: str) -> float:
    """MiB of the worker: ``VmRSS`` now, ``VmHWM`` at most so far."""
    status = Path(f"/proc/{probe.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def tried(probe: LocalProbe, folder: Path) -> str:
    """Compare it with a sound one; give why it was refused, or nothing."""
    try:
        probe.parity(folder, SOUND, TEXTS)
    except FolderRefused as refused:
        return refused.reason
    return ""


@pytest.fixture
def watched(probe: LocalProbe) -> Iterator[LocalProbe]:
    """The probe, of which all that comes leaves the same process, its size and its answers."""
    before = probe.parity(SOUND, None, TEXTS)
    worker, usual = probe.pid, resident(probe, "VmRSS")
    yield probe
    grown = resident(probe, "VmHWM") - usual
    print(f"grew by {grown:.0f} MiB at most, from {usual:.0f}")
    assert probe.pid == worker
    assert grown < ROOM
    assert probe.parity(SOUND, None, TEXTS) == before


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.attack, id="all"), pytest.param(6, id="every 6th")]
)
def test_no_value_of_a_config_does_more_than_be_used_or_refused(
    watched: LocalProbe, folder: Path, every: int
) -> None:
    assert tried(watched, folder) == ""
    config = json.loads((folder / CONFIG).read_text())
    for number, field in enumerate(FIELDS):
        for value in VALUES[number % every :: every]:
            (folder / CONFIG).write_text(json.dumps(config | {field: value}))
            tried(watched, folder)


@pytest.mark.parametrize("mutations", [pytest.param(600, marks=pytest.mark.attack), 60])
def test_no_mutation_of_the_weights_does_more_than_be_used_or_refused(
    watched: LocalProbe, folder: Path, mutations: int
) -> None:
    sound, rng = (folder / WEIGHTS).read_bytes(), np.random.default_rng(13)
    header = 8 + int.from_bytes(sound[:8], "little")
    refused = 0
    for number in range(mutations):
        raw = bytearray(sound)
        # most of what can go wrong is in the length and the header
        first, beyond = (0, header) if number % 3 else (header, len(sound))
        for place in rng.integers(first, beyond, size=1 + number % 2):
            raw[place] = int(rng.integers(0, 256))
        (folder / WEIGHTS).write_bytes(raw[: -int(rng.integers(1, 99))] if number % 5 == 0 else raw)
        refused += bool(tried(watched, folder))
    print(f"{refused} of {mutations} refused")
    assert mutations / 3 < refused < mutations


def _sparse(path: Path) -> None:
    path.write_bytes((100).to_bytes(8, "little") + b"{")
    os.truncate(path, 64 * 2**30)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _outside(path: Path) -> None:
    path.symlink_to(SOUND / path.name)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("make", [_sparse, _device, _circle, _outside, os.mkfifo, Path.mkdir])
def test_what_is_no_plain_file_of_the_folder_is_refused(
    watched: LocalProbe, folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink()
    make(folder / name)
    assert tried(watched, folder)


def test_discover_opens_nothing_that_an_engine_names(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / WEIGHTS)
    os.mkfifo(tmp_path / CONFIG)
    roots = [str(tmp_path), str(tmp_path / WEIGHTS), "/dev/zero", "../../etc", "\x1b[2J" * 99]
    models = [{"id": "base", "parent": None}]
    models += [{"id": f"a{i}@v1", "parent": "base", "root": it} for i, it in enumerate(roots)]
    with serving(FakeEngine(models=models)) as url:
        ran = driftline("discover", url, "--check-only", "--json")
    assert {one["root"] for one in json.loads(ran.out)["adapters"]} == set(roots)
    assert "\x1b" not in ran.out + ran.err
