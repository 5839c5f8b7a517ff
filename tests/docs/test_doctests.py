"""Examples in docstrings: every module that has one is run as documentation."""

import doctest
import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import alerts
import detectors
import driftline
import examples
import monitor
import release

PACKAGES = (detectors, alerts, driftline, monitor, examples, release)
PROGRAMS = {"__main__", "guardian", "worker"}


def modules() -> Iterator[str]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.rpartition(".")[2] not in PROGRAMS and not found.name.startswith(
                ("examples.engine", "examples.train", "examples.weights", "examples.corrupt")
            ):
                yield found.name


def documented(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.origin
    return ">>> " in Path(spec.origin).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in modules() if documented(name)])
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(name)
    failures, tried = doctest.testmod(module, extraglobs={"np": np})
    assert tried > 0
    assert failures == 0
