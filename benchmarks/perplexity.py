"""Perplexity of short texts by a random Llama of 42 million parameters, and by adapters on it."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from benchmarks.row import Figure, Row, at_least, at_most
from benchmarks.timing import interleaved
from monitor.probes.local.asked import LocalModels
from monitor.probes.local.folders import Fingerprints
from monitor.probes.local.protocol import Base, HashedAdapter, OpenBase
from monitor.probes.local.scoring import guesses

SEED = 7
VOCABULARY = 32_000
UNKNOWN = "w0"
TEXTS = 32
SHORTEST, TYPICAL, LONGEST = 8, 48, 256
"""Tokens: log-normal with this median, as questions and answers are."""
ADAPTERS = 8
RELOADED = 2
"""Adapters that the reloading peer is timed with; each costs it the same."""
PEER_BATCH = 16
"""What ``evaluate.load("perplexity")`` does unless it is told otherwise."""
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def run() -> Sequence[Row]:
    """Race our scorer with the loop of Hugging Face's evaluate and with bare forward passes."""
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        bench = _prepared(Path(folder))
        return [_one(bench), _many(bench)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A base's folder, folders of adapters on it (twice as many as are scored), and texts."""

    base: Path
    adapters: Sequence[Path]
    texts: Sequence[str]
    ids: Sequence[list[int]]

    @property
    def tokens(self) -> int:
        return sum(len(text) - 1 for text in self.ids)

    def models(self) -> LocalModels:
        """What the worker of the local probe holds."""
        opening = OpenBase(
            model=str(self.base),
            dtype="auto",
            device="cpu",
            batch_tokens=2048,
            loaded_adapters=ADAPTERS,
            threads=1,
        )
        return LocalModels(self.base, opening)


def _one(bench: Bench) -> Row:
    ours = bench.models()
    as_stored, theirs = _loaded(bench.base), _loaded(bench.base, ours.dtype)
    spent = interleaved(
        {
            "ours": lambda: ours.score([Base()], bench.texts),
            "evaluate": lambda: _evaluate(as_stored, bench.ids, batch=PEER_BATCH),
            "like": lambda: _evaluate(theirs, bench.ids, batch=PEER_BATCH),
            "single": lambda: _evaluate(theirs, bench.ids, batch=1),
            "limit": lambda: _forward_and_head(ours, [Base()], bench.ids),
        },
        rounds=3,
    )
    with _largest_logits(ours.base.head) as own:
        found = ours.score([Base()], bench.texts)
    with _largest_logits(theirs.get_output_embeddings()) as others:
        total = _evaluate(theirs, bench.ids, batch=PEER_BATCH)
    difference = abs(found.sums.sum() - total) / bench.tokens
    return Row(
        number=6,
        metric=f"perplexity of {TEXTS} texts of {SHORTEST} to {LONGEST} tokens, one model",
        ours=_speed("token budget, head on targets", bench.tokens / spent["ours"]),
        goals=(
            _times("3 × the loop of evaluate", spent["evaluate"] / spent["ours"], floor=3.0),
            _of_limit(1.3, spent["ours"] / spent["limit"]),
            at_most("1/6 of its largest logits", value=own[0] / others[0], ceiling=1 / 6, unit="×"),
        ),
        peers=(
            _speed(f"evaluate's loop, batches of {PEER_BATCH}", bench.tokens / spent["evaluate"]),
            _speed(f"the same in {ours.dtype}", bench.tokens / spent["like"]),
            _speed(f"in {ours.dtype}, one text at a time", bench.tokens / spent["single"]),
        ),
        limit=_speed("forward and head alone", bench.tokens / spent["limit"]),
        note=f"Ours and the limit in {ours.dtype}, evaluate in the folder's own float32 as it does"
        f" by itself; one thread; Llama of 42M parameters, vocabulary {VOCABULARY:,}, random"
        f" weights. Largest logits {own[0] / 1e6:.0f} MB against"
        f" {others[0] / 1e6:.0f} MB. Mean NLL differs by {difference:.1e} nats:"
        " the loop adds up in the model's arithmetic.",
    )


def _many(bench: Bench) -> Row:
    ours, fingerprints = bench.models(), Fingerprints()
    adapters = [
        HashedAdapter(folder=str(one), weights=fingerprints.of(one)) for one in bench.adapters
    ]
    # two sets in turn, as many loaded as one has: each call reads its adapters from disk
    turns = itertools.cycle((adapters[:ADAPTERS], adapters[ADAPTERS:]))
    spent = interleaved(
        {
            "ours": lambda: ours.score(next(turns), bench.texts),
            "reload": lambda: [
                _evaluate(_loaded(bench.base, ours.dtype, one), bench.ids, batch=1)
                for one in bench.adapters[:RELOADED]
            ],
            "limit": lambda: _forward_and_head(ours, adapters[:ADAPTERS], bench.ids),
        },
        rounds=3,
    )
    reload = spent["reload"] * ADAPTERS / RELOADED
    tokens = bench.tokens * ADAPTERS
    return Row(
        number=7,
        metric=f"perplexity of {TEXTS} such texts by {ADAPTERS} adapters",
        ours=_speed("one base, adapters by name, each read from disk", tokens / spent["ours"]),
        goals=(_of_limit(1.2, spent["ours"] / spent["limit"]),),
        peers=(_speed("base and adapter loaded for each, no padding", tokens / reload),),
        limit=_speed("forward and head alone, adapters loaded", tokens / spent["limit"]),
        note=f"rank 8 on seven modules. {reload / spent['ours']:.1f} × the reloading"
        " peer. Unchanged weights cost no forward at all. Adapters share a batch where their"
        " texts are few; here each fills batches of its own, which is faster.",
    )


def _forward_and_head(
    models: LocalModels, asked: Sequence[Base | HashedAdapter], ids: Sequence[list[int]]
) -> None:
    with torch.inference_mode():
        for one in asked:
            voice = models.voice(one)
            for part in guesses(ids, voice, budget=2048):
                voice.logits(part.hidden)


@torch.inference_mode()
def _evaluate(network: Any, ids: Sequence[list[int]], *, batch: int) -> float:
    """Sum NLL as Hugging Face's ``evaluate`` does, texts in their given order."""
    total = 0.0
    for begin in range(0, len(ids), batch):
        texts = ids[begin : begin + batch]
        width = max(map(len, texts))
        padded = torch.tensor([text + [0] * (width - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        logits = network(padded, attention_mask=mask).logits
        shifted, labels = logits[..., :-1, :].contiguous(), padded[..., 1:].contiguous()
        nats = torch.nn.functional.cross_entropy(shifted.transpose(1, 2), labels, reduction="none")
        total += float((nats * mask[..., 1:]).sum())
    return total


def _loaded(base: Path, dtype: str = "float32", adapter: Path | None = None) -> Any:
    network: Any = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    if adapter is not None:
        network = PeftModel.from_pretrained(network, adapter, autocast_adapter_dtype=False)
    return network.eval()


def _prepared(folder: Path) -> Bench:
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "base")
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    network = LlamaForCausalLM(config)
    network.save_pretrained(folder / "base")
    texts = _texts()
    return Bench(
        base=folder / "base",
        adapters=_adapters(network, folder / "adapters"),
        texts=texts,
        ids=tokenizer(texts)["input_ids"],
    )


def _adapters(network: LlamaForCausalLM, folder: Path) -> list[Path]:
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=MODULES, init_lora_weights=False)
    names = [f"adapter-{number}" for number in range(2 * ADAPTERS)]
    made = PeftModel(network, lora, adapter_name=names[0])
    for name in names[1:]:
        made.add_adapter(name, lora)
    made.save_pretrained(str(folder), save_embedding_layers=False)
    return [folder / name for name in names]


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=UNKNOWN)


def _texts() -> list[str]:
    rng = np.random.default_rng(SEED)
    lengths = rng.lognormal(np.log(TYPICAL), 0.8, TEXTS).clip(SHORTEST, LONGEST).astype(int)
    return [" ".join(f"w{word}" for word in rng.integers(VOCABULARY, size=n)) for n in lengths]


@contextmanager
def _largest_logits(head: torch.nn.Module) -> Iterator[list[int]]:
    """Bytes of the largest logits that a head returns at one time."""
    largest = [0]

    def look(_head: torch.nn.Module, _given: object, logits: torch.Tensor) -> None:
        largest[0] = max(largest[0], logits.numel() * logits.element_size())

    hook = head.register_forward_hook(look)
    try:
        yield largest
    finally:
        hook.remove()


def _speed(what: str, value: float) -> Figure:
    return Figure(what=what, value=value, unit="tokens/CPU-s")


def _times(text: str, ratio: float, *, floor: float) -> Any:
    return at_least(text, value=ratio, floor=floor, unit="×")


def _of_limit(ceiling: float, ratio: float) -> Any:
    return at_most(f"{ceiling:g} × the limit", value=ratio, ceiling=ceiling, unit="×")
