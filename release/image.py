"""``python -m release.image``: the three images, from a wheel built of this tree."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
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
        origin = labels(version)
        for target in given.target or TARGETS:
            words = command(builder, target, version, base=given.base, labelled=origin)
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


def labels(version: str, *, tree: Path = ROOT) -> list[str]:
    """Say what an image is made of; what git does not know of the tree is left out."""
    source = _git(tree, "remote", "get-url", "origin")
    told = {
        "version": version,
        "revision": _git(tree, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"),
        "source": re.sub(r"(?<=://)[^/]*@", "", source),  # a key may stand before the host
    }
    return [f"org.opencontainers.image.{name}={value}" for name, value in told.items() if value]


def _git(tree: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    ran = subprocess.run([git, *words], cwd=tree, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def command(
    builder: str,
    target: str,
    version: str,
    *,
    base: str | None = None,
    labelled: Sequence[str] = (),
) -> list[str]:
    """Return the words that build one target, without its context.

    >>> command("docker", "driftline-api", "0.1.0")[-4:]
    ['--target', 'driftline-api', '--tag', 'driftline-api:0.1.0']
    """
    words = [builder, "build", "--file", str(CONTAINERFILE)]
    if builder == "buildah":
        words += ["--layers"]  # as the others do: the three share their first stages
    if builder != "docker":
        words += ["--format", "docker"]  # the other one has no health checks
    if base:
        words += ["--build-arg", f"BASE={base}"]
    for label in labelled:
        words += ["--label", label]
    return [*words, "--target", target, "--tag", f"{target}:{version}"]


if __name__ == "__main__":
    sys.exit(main())
