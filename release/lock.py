"""Write ``requirements.lock``: one version of everything that is installed, for every Python.

``python -m release.lock`` takes the newest that the ranges of ``pyproject.toml`` allow, and then
asks pip whether exactly these exist for each Python of :data:`PYTHONS`. Nothing is installed.

The lock is a file of constraints, without hashes. Torch is why: its builds for CPU and CUDA are
one version with different files, and which one pip takes is for the index to say. For the same
reason no mark of a build (``+cpu``) is in it, nor what only a build for CUDA needs: torch's own
metadata names these by their exact versions.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")

_OF_A_BUILD: Final = re.compile(r"(nvidia|cuda)-.*|triton|setuptools")
"""What torch for CUDA brings along; setuptools is torch's too, from Python 3.12 on."""

_HEAD: Final = """\
# What `make env` and CI install, for Python 3.11 to 3.14; `make lock` writes it.
# Constraints, so the ranges of pyproject.toml still say what is needed: release/lock.py says why.
"""


def requirements() -> list[str]:
    """Give everything that ``pyproject.toml`` asks for, tools of development included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]
    return [one for one in asked if not one.startswith(f"{project['name']}[")]


def pinned(report: Mapping[str, Any]) -> dict[str, str]:
    """Take names and versions from pip's report, without what belongs to a build of torch.

    >>> torch = {"metadata": {"name": "Torch", "version": "2.13.0+cpu"}}
    >>> pinned({"install": [torch, {"metadata": {"name": "nvidia-nccl-cu13", "version": "2"}}]})
    {'torch': '2.13.0'}
    """
    found = {
        re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower(): one["metadata"]["version"]
        for one in report["install"]
    }
    return {
        name: version.partition("+")[0]
        for name, version in sorted(found.items())
        if not _OF_A_BUILD.fullmatch(name)
    }


def main() -> None:
    """Resolve, write the file, and see that it holds for every Python."""
    pins = pinned(_resolve(requirements()))
    LOCK.write_text(_HEAD + "".join(f"{name}=={pins[name]}\n" for name in pins), encoding="utf-8")
    print(f"{LOCK.name}: {len(pins)} packages")
    for python in PYTHONS:
        others = "--python-version", python, "--only-binary", ":all:"
        found = pinned(_resolve(requirements(), "--constraint", str(LOCK), *others))
        unlocked = sorted(set(found) - set(pins))
        print(f"Python {python}: {', '.join(unlocked) or 'nothing'} beside the lock")


def _resolve(wanted: Sequence[str], *options: str) -> Any:
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["pip", "install", "--dry-run", "--quiet", "--report", str(report)]
        target = ["--target", str(Path(folder) / "nowhere")]  # so that nothing counts as there
        subprocess.run([sys.executable, "-m", *command, *target, *options, *wanted], check=True)
        return json.loads(report.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
