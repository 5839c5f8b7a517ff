"""Is it applied? Asked of the demo's real adapters, as they are and as releases break them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from detectors.identity import BASE, Identity, IdentityState, identify
from detectors.parity import Parity, TopLogprobs, compare
from detectors.perplexity import DocumentScores, noise_floor
from examples.corrupt import Corruption, corrupt_adapter
from examples.texts import Domain, corpus
from examples.weights import DemoAdapter, load_base, load_merged, load_tokenizer
from monitor.probes.comparing import document_scores
from monitor.probes.corpus import load_corpus

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

TEXTS = [document.text for document in load_corpus().documents[:20]]
DOMAIN = list(corpus(Domain.SUPPORT)[:20])


def read(model: PreTrainedModel, texts: list[str]) -> TopLogprobs:
    """What a server tells of every token: its own logprob and the 20 likeliest."""
    ids = [torch.tensor([load_tokenizer()(text)["input_ids"]]) for text in texts]
    with torch.inference_mode():
        full = [model(input_ids=one).logits[0, :-1].float().log_softmax(-1) for one in ids]
    best = [one.topk(20) for one in full]
    chosen = [one.gather(1, i[0, 1:, None])[:, 0] for one, i in zip(full, ids, strict=True)]
    return TopLogprobs(
        chosen=torch.cat(chosen).double().numpy(),
        tokens=torch.cat([one.indices for one in best]).numpy(),
        logprobs=torch.cat([one.values for one in best]).double().numpy(),
        document=np.repeat(np.arange(len(texts)), [len(one) for one in full]),
    )


@pytest.fixture(scope="module")
def base() -> PreTrainedModel:
    return load_base()


@pytest.fixture(scope="module")
def support() -> PreTrainedModel:
    return load_merged(DemoAdapter.SUPPORT_V1.path)


def told(
    own: PreTrainedModel,
    base: PreTrainedModel,
    *,
    texts: list[str],
    siblings: Mapping[str, PreTrainedModel] | None = None,
    floor: float = 1e-3,
    registered_gap: float | None = None,
) -> Identity:
    mine, other = read(own, texts), read(base, texts)
    theirs = {name: read(model, texts) for name, model in (siblings or {}).items()}
    parity: dict[str, Parity] = {BASE: compare(mine, other)}
    return identify(
        document_scores(mine, texts),
        base=document_scores(other, texts),
        siblings={name: document_scores(seen, texts) for name, seen in theirs.items()},
        floor=floor,
        registered_gap=registered_gap,
        parity=parity | {name: compare(mine, seen) for name, seen in theirs.items()},
    )


@pytest.mark.parametrize("adapter", DemoAdapter)
def test_every_adapter_is_applied_and_none_is_taken_for_another(
    adapter: DemoAdapter, base: PreTrainedModel
) -> None:
    siblings = {other.name: load_merged(other.path) for other in DemoAdapter if other != adapter}
    found = told(load_merged(adapter.path), base, texts=TEXTS, siblings=siblings)
    assert found.state is IdentityState.APPLIED
    assert found.kl is not None
    assert found.kl > 0.1


def test_half_precision_is_the_same_model_within_its_own_floor(
    base: PreTrainedModel, support: PreTrainedModel
) -> None:
    for model in (base, support):
        half: Any = load_base() if model is base else load_merged(DemoAdapter.SUPPORT_V1.path)
        half = half.to(torch.bfloat16)
        mine, other = read(half, TEXTS), read(model, TEXTS)
        runs: list[DocumentScores] = [document_scores(one, TEXTS) for one in (mine, other)]
        floor = noise_floor(runs)
        assert 1e-3 < floor < 0.02
        assert told(half, model, texts=TEXTS, floor=floor).state is IdentityState.NOT_APPLIED


@pytest.mark.parametrize(
    ("texts", "how", "state"),
    [
        pytest.param(TEXTS, Corruption.NOISE, IdentityState.WRONG_WEIGHTS, id="noise"),
        pytest.param(TEXTS, Corruption.SCALED, IdentityState.WRONG_WEIGHTS, id="scaled"),
        pytest.param(DOMAIN, Corruption.NOISE, IdentityState.WRONG_WEIGHTS, id="noise, domain"),
        pytest.param(DOMAIN, Corruption.SCALED, IdentityState.WRONG_WEIGHTS, id="scaled, domain"),
        # these keep about the distance to the base: `perplexity` sees that documents changed
        pytest.param(TEXTS, Corruption.PERMUTED, IdentityState.APPLIED, id="permuted"),
        pytest.param(TEXTS, Corruption.ZEROED_LAYER, IdentityState.APPLIED, id="zeroed layer"),
    ],
)
def test_damaged_weights_against_their_registration(
    texts: list[str],
    how: Corruption,
    state: IdentityState,
    *,
    base: PreTrainedModel,
    support: PreTrainedModel,
    tmp_path: Path,
) -> None:
    registered = told(support, base, texts=texts).gap
    corrupt_adapter(DemoAdapter.SUPPORT_V1.path, tmp_path / "damaged", seed=7, how=how)
    damaged = load_merged(tmp_path / "damaged")
    found = told(damaged, base, texts=texts, registered_gap=registered)
    assert found.state is state, found
    assert "at registration" in found.reason
