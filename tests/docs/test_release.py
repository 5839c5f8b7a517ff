"""What is built, what it is built with, and what stands in the way of a commit."""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from release.building import build, contents, lacking, problems
from release.installed import Installed
from release.lock import LOCK, PYTHONS, requirements
from tests.docs.pages import ROOT, section


def locked() -> Mapping[str, str]:
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_the_lock_has_a_version_within_the_range_of_all_that_is_asked_for() -> None:
    pins = locked()
    for text in requirements():
        asked = Requirement(text)
        assert asked.specifier.contains(pins[canonicalize_name(asked.name)]), text


def test_the_lock_names_no_build_of_torch_and_nothing_that_only_one_build_needs() -> None:
    pins = locked()
    assert not any("+" in version for version in pins.values())
    assert not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in pins)


def test_the_lock_is_for_every_python_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = SpecifierSet(project["requires-python"])
    assert all(supported.contains(python) for python in PYTHONS)
    assert not supported.contains("3.10"), "the oldest is one of them"
    assert f"PYTHONS ?= {' '.join(PYTHONS)}\n" in (ROOT / "Makefile").read_text()


def test_environments_are_made_by_the_lock_and_continuous_integration_makes_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("$(READY): pyproject.toml requirements.lock\n")[2]
    install = next(line for line in recipe.splitlines() if "pip install" in line)
    assert "--constraint requirements.lock" in install
    assert (ROOT / ".ci" / "run").read_text().endswith("make test\n")


def test_a_commit_is_held_to_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    hooked = {one["entry"].removeprefix(".venv/bin/").split(" --")[0] for one in hooks}
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^check: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    checks = {line.strip().removeprefix("$(BIN)/") for line in recipe.splitlines()}
    assert hooked == {check.removesuffix(" .").split(" --")[0] for check in checks}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, Path]) -> Path:
    return built[1]


def test_the_wheel_is_made_of_the_sdist_alone_and_has_what_it_needs_and_no_more(
    wheel: Path,
) -> None:
    assert problems(contents(wheel)) == []


def test_the_sdist_has_all_of_deploy_that_git_keeps_and_nothing_else_of_it(
    built: tuple[Path, Path],
) -> None:
    names = contents(built[0])
    assert lacking(names) == []
    links = {path for path in (ROOT / "deploy").rglob("*") if path.is_symlink()}
    assert len(links) == 2
    own = {name for name in names if name.startswith("deploy/")}
    copies = {str(one.relative_to(ROOT)) for one in links}
    linked = {name for name in own if any(name.startswith(f"{copy}/") for copy in copies)}
    assert own - linked == set(_kept("deploy")) - copies


def _kept(folder: str) -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    ran = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


@pytest.mark.slow
def test_the_wheel_serves_where_nothing_of_this_tree_is(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Installed.into(tmp_path, wheel).use()
    assert "ready, and stopped" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("block", [0, 1], ids=["pip", "pipx"])
def test_the_wheel_without_extras_is_installed_as_the_page_says_and_as_small(
    block: int, wheel: Path, tmp_path: Path
) -> None:
    """Everything is downloaded, from the index that pip's configuration names."""
    page = section("install.md", "pip")
    script = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[block]
    script = script.replace("/opt/driftline", f"{tmp_path}/opt")
    script = script.replace("'.[probes,report]'", str(wheel))
    script += script.splitlines()[-1].replace("serve", "check-config")
    tool = tmp_path / "tool"
    subprocess.run([sys.executable, "-m", "venv", tool], check=True)
    subprocess.run([tool / "bin" / "python", "-m", "pip", "install", "--quiet", "pipx"], check=True)
    ran = ("DRIFTLINE_", "PYTHON", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ran)}
    own = {name: str(tmp_path / name) for name in ("PIPX_HOME", "PIPX_BIN_DIR")}
    path = f"{tool}/bin:{own['PIPX_BIN_DIR']}:{os.environ['PATH']}"
    began = time.monotonic()
    done = subprocess.run(
        ["sh", "-ec", script.replace(" serve", " --version")],
        cwd=ROOT,
        env=clean | own | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^driftline \d", done.stdout, re.MULTILINE), done.stdout
    [packages] = [
        one for one in tmp_path.rglob("site-packages") if (one / "monitor" / "cli").is_dir()
    ]
    assert not (packages / "torch").exists()
    size = sum(one.stat().st_size for one in packages.rglob("*") if one.is_file()) / 1e6
    print(f"{size:.0f} MB in {seconds:.0f} s")
    [said] = re.findall(r"without extras is (\d+) MB", page)
    assert size == pytest.approx(int(said), rel=0.2)
