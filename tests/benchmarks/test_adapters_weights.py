"""Ways of the benchmark of broken adapters that change weights, on an adapter of two layers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.adapters.shelf import copy
from benchmarks.adapters.ways import WAYS, harmless, weights
from benchmarks.adapters.ways.way import OfWeights, Weights

RANK, WIDTH = 8, 12
OF_WEIGHTS = {way.name: way.fault.change for way in WAYS if isinstance(way.fault, OfWeights)}


def adapter() -> Weights:
    draws = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in (0, 1):
        stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(RANK, WIDTH, generator=draws)
        tensors[f"{stem}.lora_B.weight"] = torch.randn(WIDTH + 4, RANK, generator=draws)
    return Weights(tensors=tensors, config={"lora_alpha": 16, "r": RANK})


def update(found: Weights, layer: int) -> torch.Tensor:
    """What the adapter adds to a layer's weights."""
    stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
    a = found.tensors[f"{stem}.lora_A.weight"].float()
    b = found.tensors[f"{stem}.lora_B.weight"].float()
    return b @ a * found.config["lora_alpha"] / found.config["r"]


def distance(changed: Weights, layer: int) -> float:
    """Of an update from the right one, over its size."""
    right = update(adapter(), layer)
    return float((update(changed, layer) - right).norm() / right.norm())


@pytest.mark.parametrize(("name", "factor"), [("alpha-doubled", 2.0), ("alpha-halved", 0.5)])
def test_a_wrong_alpha_scales_every_update_and_leaves_the_tensors(name: str, factor: float) -> None:
    changed = OF_WEIGHTS[name](adapter())
    for layer in (0, 1):
        torch.testing.assert_close(update(changed, layer), factor * update(adapter(), layer))
    for tensor, right in adapter().tensors.items():
        assert torch.equal(changed.tensors[tensor], right)


def test_a_zeroed_layer_loses_its_update_alone() -> None:
    changed = OF_WEIGHTS["layer-zeroed"](adapter())
    assert update(changed, 0).abs().max() == 0
    assert torch.equal(update(changed, 1), update(adapter(), 1))


def test_more_noise_is_further_away() -> None:
    levels = ["noise-0.1", "noise-0.3", "noise-1", "noise-3"]
    found = [distance(OF_WEIGHTS[name](adapter()), 0) for name in levels]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.14, rel=0.3)  # sqrt(2) of .1: either factor is off
    assert found[-1] > 3


def test_noise_is_the_same_each_time() -> None:
    once, again = (OF_WEIGHTS["noise-1"](adapter()) for _ in range(2))
    assert all(torch.equal(again.tensors[name], one) for name, one in once.tensors.items())


def test_a_flipped_sign_subtracts_the_update() -> None:
    changed = OF_WEIGHTS["sign-flipped"](adapter())
    torch.testing.assert_close(update(changed, 1), -update(adapter(), 1))


def test_swapped_factors_fit_and_hold_each_others_numbers() -> None:
    changed = OF_WEIGHTS["factors-swapped"](adapter())
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    a, b = (adapter().tensors[f"{stem}.lora_{factor}.weight"] for factor in "AB")
    assert torch.equal(changed.tensors[f"{stem}.lora_A.weight"], b.T[:, :WIDTH])
    assert torch.equal(changed.tensors[f"{stem}.lora_B.weight"][:WIDTH], a.T)
    assert distance(changed, 0) > 0.5


def test_one_nan_stands_in_the_last_layer() -> None:
    changed = OF_WEIGHTS["not-a-number"](adapter())
    nans = {name: int(tensor.isnan().sum()) for name, tensor in changed.tensors.items()}
    assert sum(nans.values()) == 1
    assert next(name for name, count in nans.items() if count).endswith(
        "1.self_attn.q_proj.lora_B.weight"
    )


def test_rounding_to_four_bits_is_coarser_than_to_eight() -> None:
    eight, four = (OF_WEIGHTS[f"rounded-int{bits}"](adapter()) for bits in (8, 4))
    assert 0 < distance(eight, 0) < 0.02 < distance(four, 0) < 0.5
    assert all(tensor.unique().numel() <= 15 for tensor in four.tensors.values())


def test_a_truncated_rank_leaves_two() -> None:
    changed = OF_WEIGHTS["rank-truncated"](adapter())
    assert torch.linalg.matrix_rank(update(changed, 0)) == 2
    assert torch.linalg.matrix_rank(update(adapter(), 0)) == RANK


def test_saving_again_changes_nothing_that_half_precision_keeps() -> None:
    changed = harmless.saved_again(adapter())
    assert {tensor.dtype for tensor in changed.tensors.values()} == {torch.float16}
    assert distance(changed, 0) < 1e-3


@pytest.mark.parametrize("change", OF_WEIGHTS.values(), ids=OF_WEIGHTS)
def test_every_change_keeps_names_and_shapes_and_the_right_weights(
    change: Callable[[Weights], Weights],
) -> None:
    right = adapter()
    changed = change(right)
    assert {n: t.shape for n, t in changed.tensors.items()} == {
        n: t.shape for n, t in right.tensors.items()
    }
    assert all(torch.equal(right.tensors[n], t) for n, t in adapter().tensors.items())
    same = all(torch.equal(changed.tensors[n], t) for n, t in right.tensors.items())
    assert not same or changed.config != right.config


def test_a_changed_copy_leaves_the_folder_it_was_made_of(tmp_path: Path) -> None:
    source, target = tmp_path / "right", tmp_path / "wrong"
    source.mkdir()
    save_file(dict(adapter().tensors), source / "adapter_model.safetensors")
    (source / "adapter_config.json").write_text('{"lora_alpha": 16, "r": 8}')
    copy(source, target, lambda found: weights.alpha(weights.sign_flip(found), 2))
    assert '"lora_alpha": 32' in (target / "adapter_config.json").read_text()
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    written = load_file(target / "adapter_model.safetensors")[stem]
    assert torch.equal(written, -load_file(source / "adapter_model.safetensors")[stem])
