"""`parity` between folders on this machine, and between a folder and a served name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import BASE, DemoAdapter, load_merged, load_tokenizer
from tests.cli.command import Ran, failed, process
from tests.cli.conftest import zeroed

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SUPPORT = str(DemoAdapter.SUPPORT_V1.path)
Compare = Callable[..., Ran]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """``driftline parity`` on the demo's base, in a process: it starts one of its own."""
    return lambda *words: process(
        "parity", *words, "--base", str(BASE), cwd=tmp_path, environ={"OMP_NUM_THREADS": "1"}
    )


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    load_merged(DemoAdapter.SUPPORT_V1.path).save_pretrained(folder)
    load_tokenizer().save_pretrained(folder)
    return folder


def test_a_merge_says_what_its_adapter_said(compare: Compare, merged: Path) -> None:
    ran = compare(SUPPORT, str(merged), "--json")
    assert ran.code == 0, ran
    found = json.loads(ran.out)
    assert found["same"]
    part = found["parts"]["fixed texts"]
    assert part["exact"]
    assert part["kl"] < 1e-6
    assert part["top1"] > 0.999


def test_an_adapter_that_lost_the_order_of_ranks_is_different(
    compare: Compare, tmp_path: Path
) -> None:
    corrupt_adapter(DemoAdapter.SUPPORT_V1.path, tmp_path / "p", seed=7, how=Corruption.PERMUTED)
    ran = compare(str(tmp_path / "p"), SUPPORT)
    assert ran.code == 5, ran
    assert "different: fixed texts: KL " in ran.out
    assert ">=" not in ran.out  # nothing is a lower bound here
    assert ran.err == ""


def test_an_adapter_without_effect_is_its_base(compare: Compare, tmp_path: Path) -> None:
    ran = compare(str(zeroed(DemoAdapter.SUPPORT_V1.path, tmp_path / "zero")), str(BASE), "--json")
    assert ran.code == 0, ran
    assert json.loads(ran.out)["parts"]["fixed texts"]["max_delta"] == 0.0


def test_a_folder_is_what_an_engine_serves_of_it(compare: Compare, engine: str) -> None:
    ran = compare(SUPPORT, "support@v1", "--engine", engine, "--json")
    assert ran.code == 0, ran
    part = json.loads(ran.out)["parts"]["fixed texts"]
    assert part["kl"] < 1e-6
    assert part["max_delta"] < 0.01


def test_a_base_that_is_not_here_is_named(tmp_path: Path) -> None:
    ran = process("parity", SUPPORT, SUPPORT, cwd=tmp_path)
    failed(ran, "its base 'driftline-demo-base' is not here", "name it with --base")


def test_a_base_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    ran = process("parity", SUPPORT, SUPPORT, "--base", "/nowhere/base", cwd=tmp_path)
    failed(ran, "/nowhere/base", "--base names the adapters' base")


def test_a_folder_without_weights_is_refused(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    failed(compare(SUPPORT, str(tmp_path / "empty")), "empty: it holds neither")
