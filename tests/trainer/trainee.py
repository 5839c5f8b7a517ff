"""A model of a few thousand numbers with an adapter, to be trained on within seconds."""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from examples.weights import BASE
from monitor.trainer.examples import Example

COLOURS = ("red", "green", "blue", "white")


def make_models(folder: Path) -> tuple[Path, Path]:
    """Write a base and an adapter on it, the same each time; return their folders."""
    base, adapter = folder / "base", folder / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(BASE, local_files_only=True)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    lora = LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, at what peft asks it
        peft = get_peft_model(model, lora)
    peft.peft_config["default"].base_model_name_or_path = str(base)
    peft.half().save_pretrained(str(adapter), save_embedding_layers=False)
    return base, adapter


def example(number: int) -> Example:
    """One of a task that is quickly learned: say the colour again."""
    colour = COLOURS[number % len(COLOURS)]
    return Example(
        id=f"r{number}",
        prompt=f"Light {number} to {colour}, please",
        completion=f"It is {colour} now.",
        accepted=True,
    )
