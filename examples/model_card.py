"""``README.md`` beside the models: what they are and how well each knows each domain."""

from pathlib import Path
from typing import Final

from transformers import PreTrainedModel

from examples.texts import Domain, corpus
from examples.training import perplexity, score_documents
from examples.weights import DemoAdapter, load_base, load_merged, load_tokenizer

CORPUS_DOCUMENTS: Final = 200

_CARD: Final = """\
# The demo's models

A Llama of {parameters:,} parameters (3 layers, width 128, a byte-level BPE of 2,048 tokens) and
five LoRA adapters (r = 8, all seven projections), made by `python -m examples.train_models` in
about ten minutes on one CPU core. They answer in the style of the demo's texts and know nothing
else.

- **Text**: only what `examples/domains` generates. No outside text, no other model was used.
- **Base**: 12,000 general dialogues and 400 of each other domain, none of them among the texts
  that adapters learn from or that anything is measured on.
- **Adapters**: the 1,000 training dialogues of their domain. `support-v2` is trained longer than
  `support-v1`, from another seed; `travel-v2` as long as `travel-v1`, from another seed.
- **Precision**: stored as float16, run as float32.
- **Licence**: Apache-2.0, as the rest of the repository.

| folder | KiB |
| --- | ---: |
{sizes}

Perplexity per token on {documents} held-out dialogues of each domain, which no model has seen:

| model | {domains} |
| --- |{rules}
{rows}

`home` is the topic that no adapter learned.
"""


def measure(models: Path, documents: int = CORPUS_DOCUMENTS) -> dict[str, dict[Domain, float]]:
    """Measure the perplexity of base and adapters on every domain's fixed corpus.

    Returns
    -------
    dict
        Model folder's name to domain to perplexity per token (1 or more).
    """
    base = models / "base"
    table = {"base": _row(load_base(base), base, documents)}
    for adapter in DemoAdapter:
        table[adapter] = _row(load_merged(models / adapter, base), base, documents)
    return table


def write_card(models: Path) -> None:
    """Measure the models in a folder and write its ``README.md``."""
    table = measure(models)
    card = _CARD.format(
        parameters=load_base(models / "base").num_parameters(),
        sizes="\n".join(f"| `{name}` | {_kib(models / name):,} |" for name in table),
        documents=CORPUS_DOCUMENTS,
        domains=" | ".join(Domain),
        rules=" ---: |" * len(Domain),
        rows="\n".join(_line(name, row) for name, row in table.items()),
    )
    (models / "README.md").write_text(card)


def _row(model: PreTrainedModel, base: Path, documents: int) -> dict[Domain, float]:
    tokenizer = load_tokenizer(base)
    return {
        domain: perplexity(score_documents(model, tokenizer, corpus(domain, documents)))
        for domain in Domain
    }


def _line(name: str, row: dict[Domain, float]) -> str:
    return f"| `{name}` | " + " | ".join(f"{row[domain]:.2f}" for domain in Domain) + " |"


def _kib(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) // 1024
