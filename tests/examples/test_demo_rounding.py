"""How far harmless rounding and real damage move the demo's adapter, in each arithmetic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from detectors.perplexity import CHANGED_FLOORS, rounding_floor
from examples.corrupt import Corruption, corrupt_adapter
from examples.weights import DemoAdapter, load_adapter, load_tokenizer
from monitor.probes.corpus import load_corpus

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SOUND = DemoAdapter.SUPPORT_V1.path
TEXTS = [document.text for document in load_corpus().documents[:30]]
Rounding = Callable[[torch.Tensor], torch.Tensor]


def to_bits(bits: int) -> Rounding:
    """Round each row to so many bits, as quantisation does."""

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        step = tensor.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
        return torch.where(step > 0, torch.round(tensor / step) * step, 0.0)

    return rounded


SAVED: dict[str, Rounding] = {
    "float16": lambda tensor: tensor.half(),
    "bfloat16": lambda tensor: tensor.bfloat16(),
    "8 bits": to_bits(8),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter as training leaves it: the committed one is rounded to float16 already."""
    draws = torch.Generator().manual_seed(3)
    return saved(
        tmp_path_factory.mktemp("trained") / "trained",
        SOUND,
        lambda tensor: tensor.float() * (1 + torch.rand(tensor.shape, generator=draws) * 2**-11),
    )


def saved(folder: Path, source: Path, how: Rounding) -> Path:
    corrupt_adapter(source, folder, seed=0, how=Corruption.SCALED)
    tensors = load_file(source / "adapter_model.safetensors")
    kept = {name: how(tensor).contiguous() for name, tensor in tensors.items()}
    save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def nll(folder: Path, dtype: torch.dtype) -> np.ndarray:
    """Mean NLL of each document."""
    model: PreTrainedModel = load_adapter(folder).to(dtype)  # type: ignore[assignment]
    tokenizer, found = load_tokenizer(), []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            logprobs = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        found.append(-logprobs.gather(1, ids[0, 1:, None]).mean().item())
    return np.array(found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_saving_again_is_below_the_line_of_each_arithmetic_and_damage_far_above(
    dtype: torch.dtype, trained: Path, tmp_path: Path
) -> None:
    line = CHANGED_FLOORS * rounding_floor(str(dtype))
    before = nll(trained, dtype)

    def largest(folder: Path) -> float:
        return float(np.abs(nll(folder, dtype) - before).max())

    for name, how in SAVED.items():
        assert largest(saved(tmp_path / name, trained, how)) < line, name
    assert largest(saved(tmp_path / "4 bits", trained, to_bits(4))) > 2 * line
    for damage in Corruption:
        corrupt_adapter(trained, tmp_path / damage, seed=7, how=damage)
        assert largest(tmp_path / damage) > 10 * line, damage
