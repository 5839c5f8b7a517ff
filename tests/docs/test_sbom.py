"""`make sbom`: the bill of materials names all that is installed."""

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.tools import skip_unless

TOOL = ROOT / ".venv-sbom" / "bin" / "cyclonedx-py"
RECIPE = re.compile(r"^\t\$\(SBOM\)/bin/cyclonedx-py (?P<options>.*)$", re.MULTILINE)


def named(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def says_its_licence(one: Distribution) -> bool:
    classifiers = one.metadata.get_all("Classifier", [])
    return "License-Expression" in one.metadata or any(
        said.startswith("License :: ") and said != "License :: OSI Approved" for said in classifiers
    )


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Made by the recipe, which has its form checked against the schema."""
    skip_unless(TOOL.exists(), "`make sbom` installs cyclonedx-py")
    written = tmp_path_factory.mktemp("sbom") / "sbom.json"
    found = RECIPE.search((ROOT / "Makefile").read_text())
    assert found
    words = found["options"].replace("$(OF)", sys.executable).replace("$(INTO)", str(written))
    subprocess.run([TOOL, *words.split()], cwd=ROOT, check=True, capture_output=True, timeout=120)
    made: dict[str, Any] = json.loads(Path(written).read_text())
    return made


def test_it_names_everything_installed_with_its_version(bill: dict[str, Any]) -> None:
    listed = [bill["metadata"]["component"], *bill["components"]]
    installed = {(named(one.name), one.version) for one in distributions()}
    assert {(named(one["name"]), one["version"]) for one in listed} >= installed
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")


def test_it_gives_the_licence_of_whatever_says_its_own(bill: dict[str, Any]) -> None:
    known = {named(one.name) for one in distributions() if says_its_licence(one)}
    given = {named(one["name"]) for one in bill["components"] if one.get("licenses")}
    assert known - given <= {"driftline"}  # which stands above the components
    assert bill["metadata"]["component"]["licenses"]
    assert len(given) > 0.9 * len(bill["components"])
