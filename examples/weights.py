"""Where the demo's committed models lie, and how to load them.

Weights are stored as float16 to keep clones small and always run as float32.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final, cast

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerFast as Tokenizer

MODELS: Final = Path(__file__).parent / "models"
BASE: Final = MODELS / "base"
BASE_NAME: Final = "driftline-demo-base"


class DemoAdapter(StrEnum):
    """Adapter versions that the repository carries; also their folders' names."""

    SUPPORT_V1 = "support-v1"
    SUPPORT_V2 = "support-v2"
    BOOKING_V1 = "booking-v1"
    TRAVEL_V1 = "travel-v1"
    TRAVEL_V2 = "travel-v2"

    @property
    def path(self) -> Path:
        """The adapter's folder, in PEFT format."""
        return MODELS / self.value


def load_tokenizer(folder: Path = BASE) -> Tokenizer:
    """Load a tokenizer with its chat template from a folder, never from a network."""
    return cast("Tokenizer", AutoTokenizer.from_pretrained(folder, local_files_only=True))


def load_base(folder: Path = BASE) -> PreTrainedModel:
    """Load a causal LM from a folder as float32, ready to answer."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    model.eval()
    return model


def load_merged(adapter: Path, base: Path = BASE) -> PreTrainedModel:
    """Load a base model with an adapter's update added to its weights.

    The sum ``W + (alpha / r) B A`` computes what the adapter computes beside the
    base model, up to rounding, without its extra products at every layer.
    """
    merged: PreTrainedModel = load_adapter(adapter, base).merge_and_unload(safe_merge=True)
    return merged


def load_adapter(adapter: Path, base: Path = BASE) -> PeftModel:
    """Load a base model with an adapter beside it, unmerged.

    Raises
    ------
    FileNotFoundError
        The folder holds no ``adapter_config.json`` or no safetensors weights.
    """
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise FileNotFoundError(f"no {name} in {adapter}")
    return PeftModel.from_pretrained(load_base(base), adapter).eval()
