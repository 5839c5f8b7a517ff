"""Train an adapter on: ``python -m monitor.trainer.fitting FOLDER``. It loads torch.

The folder has a plan and examples; a result and the adapter are written into it. Ended and started
again, it goes on from its newest checkpoint.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from monitor.probes.inputs import AnsweredText, GivenText, shortened
from monitor.trainer import files
from monitor.trainer.examples import Example, read
from monitor.trainer.files import FitPlan, FitProgress, FitResult, written
from monitor.trainer.fit import REFUSED

WEIGHTS: Final = "adapter_model.safetensors"
TOKENIZER: Final = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("chat_template.jinja", "tokenizer.model"),
)
SHOWN: Final = 200
"""Texts of each kind that the admission reads."""
_IGNORED: Final = -100
"""The label that the loss leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids and labels of an example, its text, and the characters before its answer."""

    ids: list[int]
    labels: list[int]
    text: str
    answer_at: int


def main(folder: Path) -> None:
    """Train as the folder's plan says."""
    began = time.monotonic()
    plan = msgspec.json.decode((folder / files.PLAN).read_bytes(), type=FitPlan)
    torch.manual_seed(plan.seed)
    tokenizer = _tokenizer(plan)
    training, held_out, earlier = (
        read(folder / name) for name in (files.TRAINING, files.HELD_OUT, files.EARLIER)
    )
    new = _encoded(tokenizer, training[: plan.new], plan.context)
    taught = [*new, *_encoded(tokenizer, training[plan.new :], plan.context)]
    kept = _encoded(tokenizer, held_out, plan.context)
    if len(new) < plan.least or not kept:
        _refuse(f"{len(new)} of {plan.new} new examples fit into {plan.context} tokens")
    model = _model(plan)
    parent_nll = _nll(model, kept)
    trainer = _trainer(model, tokenizer, taught, kept, plan=plan, folder=folder, began=began)
    trainer.train(resume_from_checkpoint=_whole_checkpoint(folder / files.CHECKPOINTS))
    held_out_nll = _nll(model, kept)
    if not math.isfinite(held_out_nll) or held_out_nll >= parent_nll:
        _refuse(
            f"it learned nothing: held-out answers cost {held_out_nll:.3f} nats per token,"
            f" its parent {parent_nll:.3f}"
        )
    result = FitResult(
        parent_nll=parent_nll,
        held_out_nll=held_out_nll,
        steps=trainer.state.global_step,
        examples=len(taught),
        left_out=len(training) + len(held_out) - len(taught) - len(kept),
        seconds=round(time.monotonic() - began, 1),
        training=_shown(new),
        held_out=_shown(kept),
        earlier=_shown(_encoded(tokenizer, earlier[:SHOWN], plan.context)),
    )
    _save(model, Path(plan.parent), folder / files.ADAPTER)
    written(folder / files.RESULT, msgspec.json.encode(result))


def _refuse(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)  # noqa: T201 (the last line of its log)
    sys.exit(REFUSED)


def _tokenizer(plan: FitPlan) -> Any:
    """Load the adapter's own tokenizer, where it has one, with its chat template."""
    own = (Path(plan.parent) / "tokenizer_config.json").is_file()
    return AutoTokenizer.from_pretrained(
        plan.parent if own else plan.base, trust_remote_code=False, local_files_only=True
    )


def _model(plan: FitPlan) -> PeftModel:
    """Load the base and the parent's adapter, to be trained on."""
    cuda = torch.cuda.is_available()
    wide = torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float32
    base = AutoModelForCausalLM.from_pretrained(
        plan.base, dtype=wide, trust_remote_code=False, local_files_only=True, use_safetensors=True
    )
    network: Any = base
    return PeftModel.from_pretrained(
        network.to("cuda" if cuda else "cpu"), plan.parent, is_trainable=True, use_safetensors=True
    )


def _encoded(tokenizer: Any, examples: Sequence[Example], context: int) -> list[Encoded]:
    """Write examples as the model reads them, and mark what is to be learned.

    That is the last answer; of a bare text it is everything. Examples that are too long are left
    out, and those of which the template shows no answer.
    """
    found = [_one(tokenizer, example) for example in examples]
    return [one for one in found if len(one.ids) <= context and set(one.labels) != {_IGNORED}]


def _one(tokenizer: Any, example: Example) -> Encoded:
    if example.text:
        ids = [*tokenizer(example.text)["input_ids"], tokenizer.eos_token_id]
        return Encoded(ids=ids, labels=ids, text=example.text, answer_at=0)
    turns = [msgspec.to_builtins(turn) for turn in example.turns]
    asked = [msgspec.to_builtins(turn) for turn in example.asked]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    start = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    read = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids = read["input_ids"]
    answer = len(start) if whole.startswith(start) else len(whole)
    labels = [
        one if first >= answer else _IGNORED
        for one, (first, _) in zip(ids, read["offset_mapping"], strict=True)
    ]
    # an engine puts the first token before a prompt by itself
    shown = whole.removeprefix(tokenizer.bos_token or "")
    before = answer - (len(whole) - len(shown))
    return Encoded(ids=ids, labels=labels, text=shown, answer_at=before)


def _shown(examples: Sequence[Encoded]) -> list[GivenText]:
    cut = (shortened(one.text, one.answer_at) for one in examples[:SHOWN])
    return [AnsweredText(*one) if one[1] else one[0] for one in cut]


def _rows(examples: Sequence[Encoded]) -> Any:
    """Return a dataset: a list is one."""
    return [{"input_ids": one.ids, "labels": one.labels} for one in examples]


@torch.inference_mode()
def _nll(model: PeftModel, examples: Sequence[Encoded]) -> float:
    """Return the mean NLL per token of what is to be learned, over all tokens."""
    model.eval()
    total, tokens = 0.0, 0
    for one in examples:
        ids = torch.tensor([one.ids], device=model.device)
        labels = torch.tensor(one.labels[1:], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        total += float(
            torch.nn.functional.cross_entropy(
                logits, labels, ignore_index=_IGNORED, reduction="sum"
            )
        )
        tokens += int((labels != _IGNORED).sum())
    return total / max(1, tokens)


def _trainer(
    model: PeftModel,
    tokenizer: Any,
    taught: Sequence[Encoded],
    kept: Sequence[Encoded],
    *,
    plan: FitPlan,
    folder: Path,
    began: float,
) -> Trainer:
    steps = -(-len(taught) // plan.batch)
    look = max(1, steps // plan.looks)
    arguments = TrainingArguments(
        output_dir=str(folder / files.CHECKPOINTS),
        num_train_epochs=plan.epochs,
        learning_rate=plan.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, look // 2),
        per_device_train_batch_size=plan.batch,
        per_device_eval_batch_size=plan.batch,
        eval_strategy="steps",
        eval_steps=look,
        save_strategy="steps",
        save_steps=look,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="steps",
        logging_steps=look,
        report_to="none",
        disable_tqdm=True,
        seed=plan.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=_rows(taught),
        eval_dataset=_rows(kept),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=_IGNORED),
        callbacks=[
            EarlyStoppingCallback(early_stopping_patience=plan.patience),
            _Telling(folder / files.PROGRESS, ends=began + plan.max_s),
        ],
    )


class _Telling(TrainerCallback):
    """Writes how far the training is, and ends it in time."""

    def __init__(self, path: Path, *, ends: float) -> None:
        self._path = path
        self._ends = ends

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Write how far it is; end the training at its limit, with what is best so far."""
        seen = [one["eval_loss"] for one in state.log_history if "eval_loss" in one]
        loss = f", held-out loss {seen[-1]:.3f}" if seen else ""
        told = FitProgress(
            done=min(1.0, state.global_step / max(1, state.max_steps)),
            note=f"step {state.global_step:,} of {state.max_steps:,}{loss}",
        )
        written(self._path, msgspec.json.encode(told))
        if time.monotonic() > self._ends:
            control.should_evaluate = control.should_save = True
            control.should_training_stop = True


def _whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint, and delete those that were cut off as they were written."""
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        if _is_whole(Path(last)):
            return str(last)
        shutil.rmtree(last)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """True if all can be read that a training goes on from."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
        with safe_open(checkpoint / WEIGHTS, framework="pt") as tensors:
            named = list(tensors.keys())
        for name in ("optimizer.pt", "scheduler.pt"):
            torch.load(checkpoint / name, weights_only=True, map_location="cpu")
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError):
        return False
    return bool(named)


def _save(model: PeftModel, parent: Path, into: Path) -> None:
    """Write the adapter as the parent's was: same config, number format and tokenizer."""
    shutil.rmtree(into, ignore_errors=True)
    with safe_open(parent / WEIGHTS, framework="pt") as tensors:
        wide = tensors.get_tensor(next(iter(tensors.keys()))).dtype
    model.to(wide).save_pretrained(str(into), save_embedding_layers=False)
    (into / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    for name in TOKENIZER:
        if (parent / name).is_file():
            shutil.copyfile(parent / name, into / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
