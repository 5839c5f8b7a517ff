"""Local probes of the demo's base, and folders that are wrong in one way."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from examples.weights import BASE, DemoAdapter, load_tokenizer
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus, Document
from monitor.probes.local import LocalProbe, LocalSettings

ADAPTERS = tuple(Target(model=one.value, folder=one.path) for one in DemoAdapter)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Tensors = dict[str, torch.Tensor]


@contextmanager
def probing(base: str = str(BASE), **settings: Any) -> Iterator[LocalProbe]:
    probe = LocalProbe(LocalSettings(base=base, **settings), corpus_of("one text"))
    try:
        yield probe
    finally:
        probe.close()


def corpus_of(*texts: str) -> Corpus:
    documents = tuple(Document(id=f"d{i}", text=text) for i, text in enumerate(texts))
    return Corpus(name="given", documents=documents)


def edited(
    folder: Path,
    *,
    of: Path = DemoAdapter.SUPPORT_V1.path,
    config: Mapping[str, Any] | None = None,
    tensors: Callable[[Tensors], Tensors] = lambda tensors: tensors,
) -> Target:
    """Copy an adapter and change something about it."""
    folder.mkdir()
    shutil.copy(of / CONFIG, folder)
    said = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(said | dict(config or {})))
    save_file(tensors(load_file(of / WEIGHTS)), folder / WEIGHTS)
    return Target(model=folder.name, folder=folder)


@torch.inference_mode()
def direct(network: torch.nn.Module, texts: Sequence[str]) -> list[float]:
    """NLL sums of a plain forward pass over each text alone."""
    tokenizer, sums = load_tokenizer(), []
    for text in texts:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        logprobs = network(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        sums.append(-logprobs.gather(1, ids[0, 1:, None]).double().sum().item())
    return sums


def mean(run: Any) -> float:
    """Nats per token of a whole run."""
    return float(sum(d.sum_nll for d in run.documents) / sum(d.tokens for d in run.documents))
