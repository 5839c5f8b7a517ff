"""``python -m release.image``: the three images, from a wheel built of this tree."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from release.building import ROOT, build

TARGETS: Final = ("driftline", "driftline-api", "driftline-gateway")
BUILDERS: Final = ("buildah", "podman", "docker")
CONTAINERFILE: Final = ROOT / "deploy" / "Containerfile"


def main() -> int:
    """Build each target; 1 where a builder is missing or fails."""
    given = _parser().parse_args()
    builder = given.builder or next(filter(shutil.which, BUILDERS), None)
    if builder is None:
        print(f"none of {', '.join(BUILDERS)} is installed", file=sys.stderr)
        return 1
    with TemporaryDirectory() as folder:
        context = Path(folder)
        version = prepare(context, wheels=given.wheels)
        for target in given.target or TARGETS:
            words = command(builder, target, version, base=given.base)
            words += [*given.more, str(context)]
            print(" ".join(words), flush=True)
            if code := subprocess.run(words, check=False).returncode:
                return code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m release.image", description=__doc__)
    parser.add_argument("--builder", choices=BUILDERS, help="the first that is installed")
    parser.add_argument(
        "--base", metavar="IMAGE", help="Debian with python3, venv and certificates"
    )
    parser.add_argument("--target", action="append", choices=TARGETS, help="all if left out")
    parser.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="wheels that pip prefers: torch for the CPU"
    )
    parser.add_argument("more", nargs="*", help="after --: words for the builder")
    return parser


def prepare(context: Path, *, wheels: Path | None = None) -> str:
    """Fill a folder with what images are made of; return the version."""
    _, wheel = build(context)
    for other in context.glob("*.tar.gz"):
        other.unlink()
    shutil.copy(ROOT / "requirements.lock", context)
    (context / "wheels").mkdir()
    for one in wheels.glob("*.whl") if wheels else ():
        shutil.copy(one, context / "wheels")
    return wheel.name.split("-")[1]


def command(builder: str, target: str, version: str, *, base: str | None = None) -> list[str]:
    """Return the words that build one target, without its context.

    >>> command("docker", "driftline-api", "0.1.0")[-4:]
    ['--target', 'driftline-api', '--tag', 'driftline-api:0.1.0']
    """
    words = [builder, "build", "--file", str(CONTAINERFILE)]
    if builder != "docker":
        words += ["--format", "docker"]  # the other one has no health checks
    if base:
        words += ["--build-arg", f"BASE={base}"]
    return [*words, "--target", target, "--tag", f"{target}:{version}"]


if __name__ == "__main__":
    sys.exit(main())
