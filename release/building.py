"""The sdist, the wheel that is made of it, and what has to be in a wheel."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zipfile import ZipFile

ROOT: Final = Path(__file__).parents[1]

SHARE: Final = ".data/data/share/driftline/examples/"
CARRIED: Final = (
    "driftline/client/__init__.py",
    "monitor/web/runbooks/detector-entropy.md",
    "monitor/web/static/",
    "monitor/probes/corpora/",
    "migrations/versions/0031_",
    f"{SHARE}grafana/fleet.json",
    f"{SHARE}kubernetes/receiver.py",
    f"{SHARE}kubernetes/objects.py",
    f"{SHARE}litellm/driftline_callback.py",
    f"{SHARE}litellm/config.yaml",
    f"{SHARE}prometheus/driftline.rules.yml",
    ".dist-info/licenses/LICENSE",
)
"""What a wheel has for applications and beside its modules, each by a part of its path."""

DEPLOYED: Final = (
    "deploy/Containerfile",
    "deploy/compose.yaml",
    "deploy/helm/driftline/Chart.yaml",
    "deploy/helm/driftline/files/grafana/fleet.json",
    "deploy/helm/driftline/files/prometheus/driftline.rules.yml",
    "deploy/kubernetes/driftline.yaml",
    "deploy/systemd/driftline-gateway.service",
    "deploy/systemd/driftline.service",
)
"""What an sdist has for those who run Driftline on machines and clusters."""

LEFT_OUT: Final = ("tests/", "benchmarks/", "examples/models", "examples/demo", ".pyc", "release/")


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist of this tree, and the wheel of what is in it and nowhere else."""
    sdist = _hatchling(ROOT, "sdist", folder)
    with TemporaryDirectory() as unpacked, tarfile.open(sdist) as files:
        files.extractall(unpacked, filter="data")
        (tree,) = Path(unpacked).iterdir()
        return sdist, _hatchling(tree, "wheel", folder)


def _hatchling(tree: Path, target: str, folder: Path) -> Path:
    command = ["hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run([sys.executable, "-m", *command], cwd=tree, check=True, stdout=sys.stderr)
    (built,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def contents(built: Path) -> list[str]:
    """Name every file of a wheel, or of an sdist by its place in the tree."""
    if built.suffix == ".whl":
        with ZipFile(built) as opened:
            return sorted(opened.namelist())
    with tarfile.open(built) as files:
        return sorted(name.partition("/")[2] for name in files.getnames())


def lacking(names: list[str]) -> list[str]:
    """Say what an sdist lacks.

    >>> lacking(["deploy/Containerfile"])[0]
    'deploy/compose.yaml is not in the sdist'
    """
    return [f"{part} is not in the sdist" for part in DEPLOYED if part not in names]


def problems(names: list[str]) -> list[str]:
    """Say what a wheel lacks, and what it should not have.

    >>> problems(["monitor/__init__.py", "tests/test_x.py"])[-1]
    'tests/test_x.py has no place in it'
    """
    absent = [f"{part} is not in it" for part in CARRIED if not any(part in name for name in names)]
    odd = [
        f"{name} has no place in it"
        for name in names
        if any(name.startswith(part) or name.endswith(part) for part in LEFT_OUT)
        or any(f"/{part}" in name for part in LEFT_OUT)
    ]
    return absent + odd
