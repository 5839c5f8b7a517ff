"""Two folders compared exactly: the same, merged, quantised by hand, another."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from detectors.parity import compare
from examples.weights import BASE, DemoAdapter, load_merged
from monitor.probes.embedding import Dtype
from monitor.probes.errors import TokenizersDiffer
from monitor.probes.local import LocalProbe
from monitor.probes.local.folders import trained_on
from tests.probes.local.probing import ADAPTERS, probing

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SUPPORT = DemoAdapter.SUPPORT_V1.path


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    load_merged(SUPPORT).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, folder)
    return folder


def rounded(folder: Path, of: Path, levels: int) -> Path:
    """Round every matrix to a grid of its largest number, as a quantiser would."""
    shutil.copytree(of, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            step = tensor.abs().amax() / levels
            tensors[name] = (tensor / step).round() * step
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_merged_adapter_is_the_unmerged_one(
    exact: LocalProbe, merged: Path, texts: tuple[str, ...]
) -> None:
    found = exact.parity(SUPPORT, merged, texts)
    assert found.exact
    assert found.positions > 2_000
    assert found.kl < 1e-6
    assert found.top1 > 0.999
    assert found.max_delta < 0.01
    assert found.cosine > 0.9999


def test_an_unmerged_base_is_not_the_adapter(
    exact: LocalProbe, merged: Path, texts: tuple[str, ...]
) -> None:
    found = exact.parity(None, merged, texts)
    direct = exact.parity(None, SUPPORT, texts)
    assert found.kl > 0.05
    assert found.kl == pytest.approx(direct.kl, rel=1e-3)
    assert found.top1 < 0.95


def test_coarser_numbers_are_further_away(
    exact: LocalProbe, tmp_path: Path, texts: tuple[str, ...]
) -> None:
    fine = exact.parity(None, rounded(tmp_path / "fine", BASE, 127), texts[:20])
    coarse = exact.parity(None, rounded(tmp_path / "coarse", BASE, 7), texts[:20])
    assert 0 < fine.kl < 0.01 < coarse.kl
    assert fine.max_delta < coarse.max_delta


def test_the_exact_divergence_is_at_least_what_the_likeliest_tokens_tell(
    exact: LocalProbe, texts: tuple[str, ...]
) -> None:
    asked = texts[:20]
    whole = exact.parity(None, SUPPORT, asked)
    seen = compare(exact.read(exact.base, asked), exact.read(ADAPTERS[0], asked))
    assert seen.positions == whole.positions
    assert 0.5 * whole.kl < seen.kl <= whole.kl * (1 + 1e-4)
    assert seen.top1 == pytest.approx(whole.top1, abs=1e-3)
    assert seen.max_delta <= whole.max_delta + 1e-4
    assert seen.cosine == pytest.approx(whole.cosine, abs=1e-3)


def test_a_model_is_itself(merged: Path, texts: tuple[str, ...]) -> None:
    with probing(str(merged), dtype=Dtype.FLOAT32) as probe:
        same = probe.parity(merged, merged, texts[:5])
    assert (same.kl, same.top1, same.max_delta) == (0.0, 1.0, 0.0)


def test_a_config_tells_what_an_adapter_was_trained_on() -> None:
    assert trained_on(SUPPORT) == "driftline-demo-base"


def test_other_tokens_are_no_comparison(exact: LocalProbe, tmp_path: Path) -> None:
    folder = shutil.copytree(BASE, tmp_path / "other")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:50]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(TokenizersDiffer, match="text 0"):
        exact.parity(None, folder, ["I lost my debit card at Sunny Toys"])


def test_no_text_is_nan(exact: LocalProbe) -> None:
    found = exact.parity(None, SUPPORT, [""])
    assert found.positions == 0
    assert np.isnan(found.kl)
