"""Make the demo's models from the demo's texts: ``python -m examples.train_models``.

Writes a tokenizer and a base model of about one million parameters, five LoRA
adapters and ``README.md`` with sizes and perplexities into a folder. Same torch,
same machine, same seeds: same weights.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from peft import LoraConfig, get_peft_model
from rich.progress import Progress
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.model_card import write_card
from examples.texts import Domain, Part, part, unseen
from examples.tokenizer import CONTEXT, VOCABULARY, train_tokenizer
from examples.training import Recipe, encode, fit
from examples.weights import BASE_NAME, MODELS, DemoAdapter, load_base, load_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterPlan:
    """What an adapter learns from, and how."""

    domain: Domain
    recipe: Recipe


BASE_RECIPE: Final = Recipe(steps=2_500, learning_rate=3e-3, seed=1)
# The base model meets each domain, so that adapters refine what it knows, but
# too little of it to be as good as an adapter.
BASE_GENERAL_DOCUMENTS: Final = 12_000
BASE_DOMAIN_DOCUMENTS: Final = 400
PLANS: Final = MappingProxyType(
    {
        DemoAdapter.SUPPORT_V1: AdapterPlan(
            domain=Domain.SUPPORT, recipe=Recipe(steps=220, learning_rate=5e-3, seed=11)
        ),
        DemoAdapter.SUPPORT_V2: AdapterPlan(
            domain=Domain.SUPPORT, recipe=Recipe(steps=340, learning_rate=5e-3, seed=12)
        ),
        DemoAdapter.BOOKING_V1: AdapterPlan(
            domain=Domain.BOOKING, recipe=Recipe(steps=280, learning_rate=5e-3, seed=13)
        ),
        DemoAdapter.TRAVEL_V1: AdapterPlan(
            domain=Domain.TRAVEL, recipe=Recipe(steps=280, learning_rate=5e-3, seed=14)
        ),
        DemoAdapter.TRAVEL_V2: AdapterPlan(
            domain=Domain.TRAVEL, recipe=Recipe(steps=280, learning_rate=5e-3, seed=15)
        ),
    }
)
_SEVEN_PROJECTIONS: Final = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


def main() -> None:
    """Train everything into ``--out`` (default: the committed folder)."""
    torch.set_num_threads(1)  # more threads would round sums differently
    parser = argparse.ArgumentParser(description="Train the demo's models from its texts.")
    parser.add_argument("--out", type=Path, default=MODELS)
    parser.add_argument("--adapters-only", action="store_true", help="keep the base model in --out")
    arguments = parser.parse_args()
    with Progress() as progress:
        if not arguments.adapters_only:
            _train_base(arguments.out / "base", progress)
        for adapter, plan in PLANS.items():
            _train_adapter(arguments.out, adapter, plan=plan, progress=progress)
    write_card(arguments.out)


def _train_base(target: Path, progress: Progress) -> None:
    documents = _base_documents()
    tokenizer = train_tokenizer(documents)
    torch.manual_seed(BASE_RECIPE.seed)
    model = LlamaForCausalLM(_base_config(tokenizer))
    _fit(model, encode(tokenizer, documents), recipe=BASE_RECIPE, name="base", progress=progress)
    model.config.name_or_path = BASE_NAME
    model.half()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _base_documents() -> list[str]:
    amounts = dict.fromkeys(Domain, BASE_DOMAIN_DOCUMENTS)
    amounts[Domain.GENERAL] = BASE_GENERAL_DOCUMENTS
    return [pair.transcript for domain, n in amounts.items() for pair in unseen(domain, n)]


def _base_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _train_adapter(
    out: Path, adapter: DemoAdapter, *, plan: AdapterPlan, progress: Progress
) -> None:
    # From the stored base, so that the adapter fits the rounded weights it will meet.
    base = load_base(out / "base")
    documents = [p.transcript for p in part(plan.domain, Part.TRAIN)]
    torch.manual_seed(plan.recipe.seed)
    model = get_peft_model(base, _lora_config())
    encoded = encode(load_tokenizer(out / "base"), documents)
    _fit(model, encoded, recipe=plan.recipe, name=adapter, progress=progress)
    target = out / adapter
    model.peft_config["default"].base_model_name_or_path = BASE_NAME
    shutil.rmtree(target, ignore_errors=True)
    model.half().save_pretrained(str(target), save_embedding_layers=False)
    (target / "README.md").unlink(missing_ok=True)  # PEFT's empty model card


def _lora_config() -> LoraConfig:
    return LoraConfig(
        r=8, lora_alpha=16, target_modules=list(_SEVEN_PROJECTIONS), task_type="CAUSAL_LM"
    )


def _fit(
    model: torch.nn.Module,
    encoded: Sequence[list[int]],
    *,
    recipe: Recipe,
    name: str,
    progress: Progress,
) -> None:
    bar = progress.add_task(name, total=recipe.steps)

    def advance(loss: float) -> None:
        progress.update(bar, advance=1, description=f"{name} (loss {loss:.2f})")

    fit(model, encoded, recipe=recipe, advance=advance)


if __name__ == "__main__":
    main()
