# ruff: noqa: S311 - seeds of tests guard nothing

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import fmean, stdev

import pytest
import torch

from examples.corrupt import Corruption, corrupt_adapter
from examples.engine.generation import Ask, Sampling, Token, answer_together
from examples.model_card import measure
from examples.texts import Domain, Part, corpus, part
from examples.training import perplexity, score_documents
from examples.weights import (
    BASE,
    BASE_NAME,
    MODELS,
    DemoAdapter,
    load_adapter,
    load_base,
    load_merged,
    load_tokenizer,
)

# PEFT reads a property that transformers 5 has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

HOME = {
    DemoAdapter.SUPPORT_V1: Domain.SUPPORT,
    DemoAdapter.SUPPORT_V2: Domain.SUPPORT,
    DemoAdapter.BOOKING_V1: Domain.BOOKING,
    DemoAdapter.TRAVEL_V1: Domain.TRAVEL,
    DemoAdapter.TRAVEL_V2: Domain.TRAVEL,
}


@pytest.fixture(scope="module")
def table() -> dict[str, dict[Domain, float]]:
    return measure(MODELS, 40)


def perplexity_of(adapter: Path, domain: Domain) -> float:
    model = load_merged(adapter)
    return perplexity(score_documents(model, load_tokenizer(), corpus(domain)))


@pytest.mark.parametrize("adapter", DemoAdapter)
def test_adapter_beats_base_and_other_domains_adapters_by_ten_percent_at_home(
    table: dict[str, dict[Domain, float]], adapter: DemoAdapter
) -> None:
    domain = HOME[adapter]
    siblings = {name.value for name, home in HOME.items() if home is domain}
    rivals = [name for name in table if name not in siblings]
    assert len(rivals) >= 3
    assert table[adapter][domain] < 0.9 * min(table[name][domain] for name in rivals)


def test_second_version_of_support_is_the_better_one(table: dict[str, dict[Domain, float]]) -> None:
    first, second = (table[f"support-v{n}"][Domain.SUPPORT] for n in (1, 2))
    assert second < first


def test_committed_models_take_at_most_eight_megabytes() -> None:
    assert sum(f.stat().st_size for f in MODELS.rglob("*") if f.is_file()) <= 8_000_000


def test_models_are_stored_as_safetensors_only() -> None:
    suffixes = {f.suffix for f in MODELS.rglob("*") if f.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jinja", ".md"}


@pytest.mark.parametrize("adapter", DemoAdapter)
def test_adapter_config_names_the_base_model_without_a_path(adapter: DemoAdapter) -> None:
    config = json.loads((adapter.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE_NAME
    assert config["r"] == 8
    assert len(config["target_modules"]) == 7


def test_merged_adapter_computes_what_the_adapter_beside_the_base_computes() -> None:
    ids = torch.tensor([load_tokenizer()(corpus(Domain.SUPPORT)[0])["input_ids"]])
    path = DemoAdapter.SUPPORT_V1.path
    with torch.inference_mode():
        merged = load_merged(path)(input_ids=ids).logits.log_softmax(-1)
        beside = load_adapter(path)(input_ids=ids).logits.log_softmax(-1)
    # float32 with sums in another order: a few units of 1e-6 per product
    torch.testing.assert_close(merged, beside, atol=1e-4, rtol=1e-4)


def test_tokenizer_writes_back_any_text() -> None:
    tokenizer = load_tokenizer()
    text = "Zażółć 漢字 \x00 🙂\n  two  spaces"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_chat_template_writes_a_transcript() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    text = load_tokenizer().apply_chat_template(turns, tokenize=False)
    assert text == "<s>User:\nhi\nAssistant:\nhello</s>"


def test_folder_without_an_adapter_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no adapter_config\.json"):
        load_adapter(tmp_path)


def nll_of_own_answers(adapter: Path, domain: Domain) -> list[float]:
    """Mean negative log likelihood of each of 64 answers sampled at temperature 0.7."""
    tokenizer = load_tokenizer()
    answers: list[list[Token]] = [[] for _ in range(64)]

    def taking(answer: list[Token]) -> Callable[[Token], bool]:
        def take(token: Token) -> bool:
            answer.append(token)
            return token.id != tokenizer.eos_token_id and len(answer) < 48

        return take

    asks = [
        Ask(
            ids=tokenizer(f"User:\n{pair.prompt}\nAssistant:\n")["input_ids"],
            sampling=Sampling(max_tokens=48, temperature=0.7),
            on_prompt=print,
            on_token=taking(answer),
            random=Random(seed),
        )
        for seed, (pair, answer) in enumerate(zip(part(domain, Part.LIVE), answers, strict=False))
    ]
    answer_together(load_merged(adapter), asks)
    return [-fmean(token.logprob for token in answer) for answer in answers]


@pytest.mark.parametrize("how", [Corruption.NOISE, Corruption.PERMUTED])
def test_corruption_shows_in_the_adapters_own_answers_by_a_standard_deviation(
    tmp_path: Path, how: Corruption
) -> None:
    source = DemoAdapter.SUPPORT_V2.path
    corrupt_adapter(source, tmp_path / "broken", seed=7, how=how)
    healthy = nll_of_own_answers(source, Domain.SUPPORT)
    broken = nll_of_own_answers(tmp_path / "broken", Domain.SUPPORT)
    assert fmean(broken) > fmean(healthy) + stdev(healthy)


@pytest.mark.parametrize("how", [Corruption.NOISE, Corruption.PERMUTED, Corruption.SCALED])
@pytest.mark.parametrize("adapter", [DemoAdapter.SUPPORT_V2, DemoAdapter.TRAVEL_V1])
def test_corruption_raises_perplexity_beyond_the_alarm_of_five_percent(
    tmp_path: Path, adapter: DemoAdapter, how: Corruption
) -> None:
    corrupt_adapter(adapter.path, tmp_path / "broken", seed=7, how=how)
    healthy = perplexity_of(adapter.path, HOME[adapter])
    assert perplexity_of(tmp_path / "broken", HOME[adapter]) > 1.05 * healthy


def test_corrupting_changes_only_the_weights_and_the_same_seed_changes_them_alike(
    tmp_path: Path,
) -> None:
    source = DemoAdapter.BOOKING_V1.path
    for name in ("one", "two"):
        corrupt_adapter(source, tmp_path / name, seed=5)
    files = {name: (tmp_path / name / "adapter_model.safetensors") for name in ("one", "two")}
    assert files["one"].read_bytes() == files["two"].read_bytes()
    assert files["one"].stat().st_size == (source / files["one"].name).stat().st_size
    config = "adapter_config.json"
    assert (tmp_path / "one" / config).read_bytes() == (source / config).read_bytes()


def test_base_runs_as_float32() -> None:
    assert {p.dtype for p in load_base(BASE).parameters()} == {torch.float32}
