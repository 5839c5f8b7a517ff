"""Batches, chunks and mixed adapters change nothing about the numbers."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.parity import pooled
from examples.weights import BASE, DemoAdapter
from monitor.probes.local.adapters import BASE as NO_ADAPTER
from monitor.probes.local.adapters import Adapters
from monitor.probes.local.folders import Fingerprints
from monitor.probes.local.likeness import Likeness
from monitor.probes.local.model import CausalModel
from monitor.probes.local.scoring import CHUNK, guesses, negative_logprobs
from monitor.probes.local.voices import MixedAdapters, Swapped

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

VOCABULARY = 40


class Bigrams:
    """A model whose expectation depends on the last token alone; remembers its largest task."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.table = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        self.largest = 0
        self.padded = 0

    def hidden(self, ids: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:
        assert len(ids) == len(texts)
        self.padded = max(self.padded, ids.numel())
        return torch.nn.functional.one_hot(ids, VOCABULARY).float()

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, len(hidden))
        return hidden @ self.table


texts_of_tokens = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=700), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(texts_of_tokens, st.integers(1, 4000))
def test_each_token_but_the_first_is_guessed_once_in_any_batches(
    texts: list[list[int]], budget: int
) -> None:
    voice = Bigrams()
    found: list[list[float]] = [[] for _ in texts]
    for part in guesses(texts, voice, budget=budget):
        losses = negative_logprobs(voice, part)
        assert len(losses) <= CHUNK
        for i, value in zip(part.texts.tolist(), losses.tolist(), strict=True):
            found[i].append(value)
    expected = -voice.table.log_softmax(1)
    for text, nats in zip(texts, found, strict=True):
        direct = expected[text[:-1], text[1:]].tolist()
        assert nats == pytest.approx(direct, abs=1e-5)
    assert voice.largest <= CHUNK
    assert voice.padded <= max(budget, *map(len, texts))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 50), st.integers(0, 2**31))
def test_a_model_is_like_itself_and_any_other_is_further_away(vocabulary: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(8, vocabulary, generator=generator).log_softmax(1)
    q = torch.randn(8, vocabulary, generator=generator).log_softmax(1)
    tokens = torch.randint(vocabulary, (8,), generator=generator)
    texts = torch.tensor([0, 0, 0, 0, 0, 2, 2, 2])
    same, other = Likeness(3), Likeness(3)
    same.add(p, p, tokens=tokens, texts=texts)
    other.add(p, q, tokens=tokens, texts=texts)
    assert [one.positions for one in same.parities()] == [5, 0, 3]
    alike = pooled(same.parities())
    assert (alike.kl, alike.top1, alike.max_delta) == (0.0, 1.0, 0.0)
    assert alike.cosine == pytest.approx(1.0)
    assert alike.exact
    far = pooled(other.parities())
    # KL in closed form, by torch's own
    kl = torch.nn.functional.kl_div(q, p, log_target=True, reduction="batchmean").item()
    assert far.kl == pytest.approx(kl, abs=1e-5)
    assert far.kl >= 0
    assert far.max_delta > 0
    assert 0 <= far.cosine <= 1.000001
    assert far.positions == 8


def test_nothing_compared_is_nan_and_nan_stays_visible() -> None:
    [nothing] = Likeness(1).parities()
    assert nothing.positions == 0
    assert np.isnan([nothing.kl, nothing.top1, nothing.max_delta, nothing.cosine]).all()
    p, tokens, text = torch.randn(2, 5).log_softmax(1), torch.tensor([0, 1]), torch.zeros(2).long()
    broken = Likeness(1)
    broken.add(p, torch.full_like(p, torch.nan), tokens=tokens, texts=text)
    broken.add(p, p, tokens=tokens, texts=text)
    [found] = broken.parities()
    assert found.positions == 4
    assert np.isnan([found.kl, found.max_delta, found.cosine]).all()


@pytest.fixture(scope="module")
def adapters() -> tuple[CausalModel, Adapters, list[str]]:
    torch.set_num_threads(1)
    model = CausalModel(BASE, dtype="float32", device="cpu")
    adapters = Adapters(model, base_name=str(BASE), keep=len(DemoAdapter))
    names = [adapters.load(one.path, Fingerprints().of(one.path)) for one in DemoAdapter]
    return model, adapters, [NO_ADAPTER, *names]


@torch.inference_mode()
def test_a_row_of_a_mixed_batch_is_what_its_adapter_gives_alone(
    adapters: tuple[CausalModel, Adapters, list[str]],
) -> None:
    model, loaded, names = adapters
    assert loaded.mixable
    ids = torch.randint(3, 2000, (10, 30), generator=torch.Generator().manual_seed(1))
    owners = [names[i] for i in (0, 3, 2, 2, 4, 1, 0, 0, 3, 5)]
    mixed = MixedAdapters(model=model, adapters=loaded, names=owners).hidden(ids, range(10))
    for row, name in enumerate(owners):
        alone = Swapped(model=model, adapters=loaded, name=name)
        expected = alone.hidden(ids[row : row + 1], [0])
        assert torch.allclose(mixed[row : row + 1], expected, atol=1e-4)
    assert not torch.allclose(mixed[0], mixed[1], atol=1e-2)


def test_the_head_multiplies_nothing_while_hidden_states_are_caught(
    adapters: tuple[CausalModel, Adapters, list[str]],
) -> None:
    model, loaded, _ = adapters
    loaded.activate(NO_ADAPTER)
    rows: list[int] = []
    seen = model.head.register_forward_hook(lambda _, __, out: rows.append(out.numel()))
    with torch.inference_mode():
        hidden = model.hidden(torch.arange(8)[None])
        own = model.network(input_ids=torch.arange(8)[None]).logits[0]
    seen.remove()
    assert rows == [0, own.numel()]
    assert torch.allclose(model.logits(hidden[0]), own, atol=1e-5)


def test_the_hash_of_a_folder_is_the_same_in_another_process() -> None:
    one, other = Fingerprints().of(DemoAdapter.SUPPORT_V1.path), Fingerprints()
    assert other.of(DemoAdapter.SUPPORT_V1.path) == one
    assert other.of(DemoAdapter.SUPPORT_V2.path) != one
    assert len(one) == 64
