"""Train an adapter on: ``python -m monitor.trainer.fitting FOLDER``. It loads torch.

The folder has a plan and examples; a result and the adapter are written into it. Ended and started
again, it goes on from its newest checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from peft import PeftModel
from safetensors import safe_open
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

from monitor.trainer import plan as files
from monitor.trainer.examples import Example, read
from monitor.trainer.plan import FitPlan, FitProgress, FitResult

SHOWN: Final = 200
"""Texts of each kind that the admission reads."""
LONGEST: Final = 4_000
"""Characters of one."""
_IGNORED: Final = -100
"""The label that the loss leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids and labels of an example, and its text."""

    ids: list[int]
    labels: list[int]
    text: str


def main(folder: Path) -> None:
    """Train as the folder's plan says, alone in the folder."""
    with (folder / "fitting.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # one whose worker was killed ends by itself
        if not (folder / files.RESULT).exists():
            _fit(folder)


def _fit(folder: Path) -> None:
    began = time.monotonic()
    plan = msgspec.json.decode((folder / files.PLAN).read_bytes(), type=FitPlan)
    torch.manual_seed(plan.seed)
    tokenizer = AutoTokenizer.from_pretrained(
        plan.base, trust_remote_code=False, local_files_only=True
    )
    training, held_out, earlier = (
        read(folder / name) for name in (files.TRAINING, files.HELD_OUT, files.EARLIER)
    )
    taught = _encoded(tokenizer, training, plan.context)
    kept = _encoded(tokenizer, held_out, plan.context)
    if not taught or not kept:
        sys.exit(f"no example is as short as the context of {plan.context} tokens")
    model = _model(plan)
    parent_nll = _nll(model, kept)
    trainer = _trainer(model, tokenizer, taught, kept, plan=plan, folder=folder, began=began)
    _train(trainer, folder / files.CHECKPOINTS)
    result = FitResult(
        parent_nll=parent_nll,
        held_out_nll=_nll(model, kept),
        steps=trainer.state.global_step,
        examples=len(taught),
        left_out=len(training) + len(held_out) - len(taught) - len(kept),
        seconds=round(time.monotonic() - began, 1),
        training=_shown(taught),
        held_out=_shown(kept),
        earlier=_shown(_encoded(tokenizer, earlier[:SHOWN], plan.context)),
    )
    _save(model, Path(plan.parent), folder / files.ADAPTER)
    (folder / files.RESULT).write_bytes(msgspec.json.encode(result))


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

    That is the last answer; of a bare text it is everything.
    """
    found = [_one(tokenizer, example) for example in examples]
    return [one for one in found if len(one.ids) <= context and set(one.labels) != {_IGNORED}]


def _one(tokenizer: Any, example: Example) -> Encoded:
    if example.text:
        ids = [*tokenizer(example.text)["input_ids"], tokenizer.eos_token_id]
        return Encoded(ids=ids, labels=ids, text=example.text)
    turns = [msgspec.to_builtins(turn) for turn in example.turns]
    asked = [msgspec.to_builtins(turn) for turn in example.asked]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    start = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    before = tokenizer(start, add_special_tokens=False)["input_ids"]
    known = len(before) if ids[: len(before)] == before else 0
    first = tokenizer.bos_token or ""
    return Encoded(
        ids=ids,
        labels=[*[_IGNORED] * known, *ids[known:]],
        text=whole.removeprefix(first),  # an engine puts its own before a prompt
    )


def _shown(examples: Sequence[Encoded]) -> list[str]:
    return [one.text[:LONGEST] for one in examples[:SHOWN]]


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
        self._worker = os.getppid()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Write a line; end the training at its limit, with what is best so far.

        Without its worker it ends at once: another one takes up the newest checkpoint.
        """
        if os.getppid() != self._worker:
            sys.exit("its worker is gone")
        seen = [one["eval_loss"] for one in state.log_history if "eval_loss" in one]
        loss = f", held-out loss {seen[-1]:.3f}" if seen else ""
        told = FitProgress(
            done=min(1.0, state.global_step / max(1, state.max_steps)),
            note=f"step {state.global_step:,} of {state.max_steps:,}{loss}",
        )
        self._path.write_bytes(msgspec.json.encode(told))
        if time.monotonic() > self._ends:
            control.should_evaluate = control.should_save = True
            control.should_training_stop = True


def _train(trainer: Trainer, checkpoints: Path) -> None:
    """Train on from the newest whole checkpoint; one that was cut off is left out."""
    for last in _checkpoints(checkpoints):
        try:
            trainer.train(resume_from_checkpoint=last)
        except (OSError, ValueError, KeyError, RuntimeError, EOFError) as error:
            print(f"{last} is not whole: {error}", file=sys.stderr)  # noqa: T201 (its log)
            shutil.rmtree(last)
        else:
            return
    trainer.train()


def _checkpoints(folder: Path) -> Iterator[str]:
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))):
        yield last


def _save(model: PeftModel, parent: Path, into: Path) -> None:
    """Write the adapter as the parent's was: same config, same number format."""
    shutil.rmtree(into, ignore_errors=True)
    with safe_open(parent / "adapter_model.safetensors", framework="pt") as tensors:
        wide = tensors.get_tensor(next(iter(tensors.keys()))).dtype
    model.to(wide).save_pretrained(str(into), save_embedding_layers=False)
    (into / "README.md").unlink(missing_ok=True)  # PEFT's empty model card


if __name__ == "__main__":
    main(Path(sys.argv[1]))
