"""A base and its adapters in a real worker, held against plain forward passes."""

import json
import math
import os
import shutil
import signal
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel

from examples.weights import BASE, DemoAdapter, load_adapter, load_base, load_tokenizer
from monitor.probes.asking import ModelProbe, Target
from monitor.probes.corpus import Corpus
from monitor.probes.embedding import Dtype
from monitor.probes.errors import FolderUnknown, ModelMissing
from monitor.probes.local import LocalProbe
from monitor.probes.prompt_logprobs import PerplexitySource
from tests.probes.local.probing import (
    ADAPTERS,
    CONFIG,
    WEIGHTS,
    corpus_of,
    direct,
    edited,
    mean,
    probing,
)

# PEFT reads a property that transformers 5 has renamed; the worker only prints it
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def test_each_document_has_the_nll_of_a_plain_forward_pass(
    exact: LocalProbe, seventy: Corpus, texts: tuple[str, ...]
) -> None:
    runs = exact.score_many([exact.base, *ADAPTERS], seventy)
    networks = [load_base(), *(load_adapter(one.path) for one in DemoAdapter)]
    for run, network in zip(runs, networks, strict=True):
        sums = [document.sum_nll for document in run.documents]
        assert sums == pytest.approx(direct(network, texts), abs=1e-3)
    tokenizer = load_tokenizer()
    assert [d.tokens for d in runs[0].documents] == [
        len(tokenizer(text)["input_ids"]) - 1 for text in texts
    ]
    assert [d.bytes for d in runs[0].documents] == [len(text.encode()) for text in texts]


def test_a_run_says_how_it_was_made(exact: LocalProbe, seventy: Corpus) -> None:
    run = exact.score(ADAPTERS[0], seventy)
    assert run.source is PerplexitySource.LOCAL
    assert run.dtype == "float32"
    assert run.engine is not None
    assert run.engine.startswith(f"torch {torch.__version__} peft ")
    assert run.weights == exact.weights_of(ADAPTERS[0])
    assert run.replica is None
    assert run.stopped is None


def test_a_run_of_other_arithmetic_libraries_or_weights_would_not_be_repeated(
    exact: LocalProbe, seventy: Corpus
) -> None:
    run = exact.score(ADAPTERS[0], seventy)
    assert exact.would_repeat(ADAPTERS[0], run)
    assert not exact.would_repeat(ADAPTERS[1], run)
    for other in ({"dtype": "bfloat16"}, {"engine": "torch 1.0 peft 0.1 cpu"}, {"source": None}):
        assert not exact.would_repeat(ADAPTERS[0], replace(run, **other))


def test_adapters_mixed_in_a_batch_score_as_each_does_alone(exact: LocalProbe) -> None:
    # 5 models x 2 short texts are few enough to share a batch
    few = corpus_of("User:\nI lost my card\n", "User:\nA table for two\n")
    mixed = exact.score_many([*ADAPTERS, exact.base], few)
    for target, run in zip([*ADAPTERS, exact.base], mixed, strict=True):
        assert target.folder is not None or target == exact.base
        network = load_base() if target.folder is None else load_adapter(target.folder)
        sums = [document.sum_nll for document in run.documents]
        assert sums == pytest.approx(direct(network, [d.text for d in few.documents]), abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"use_dora": True}, id="DoRA cannot be mixed"),
        pytest.param({"use_rslora": True, "r": 4}, id="rsLoRA"),
        pytest.param({"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"o_proj": 1}}, id="ranks"),
        pytest.param({"target_modules": [*LINEAR, "lm_head"]}, id="an adapter of the head"),
        pytest.param({"modules_to_save": ["norm"]}, id="a module saved whole"),
    ],
)
def test_every_kind_of_lora_scores_as_peft_does(
    tmp_path: Path, exact: LocalProbe, options: dict[str, Any]
) -> None:
    # PEFT warns of a head that is tied to the embedding, which is what is tried here
    warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
    settings: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": LINEAR} | options
    torch.manual_seed(7)
    made = PeftModel(load_base(), LoraConfig(**settings, init_lora_weights=False)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.1)
    made.save_pretrained(str(tmp_path / "made"), save_embedding_layers=False)
    few = corpus_of("User:\nI lost my card\n", "A much longer text " * 9)
    target = Target(model="made", folder=tmp_path / "made")
    # beside an adapter that is mixable, so that the rows could be mixed up
    runs = exact.score_many([target, ADAPTERS[0], exact.base], few)
    sums = [document.sum_nll for document in runs[0].documents]
    assert sums == pytest.approx(direct(made, [d.text for d in few.documents]), abs=2e-3)
    assert mean(runs[2]) == pytest.approx(mean(exact.score(exact.base, few)))


def test_more_adapters_than_are_kept_are_scored_all_the_same(ten: Corpus) -> None:
    with probing(dtype=Dtype.FLOAT32, loaded_adapters=2) as small:
        targets = [*ADAPTERS, small.base, *reversed(ADAPTERS)]
        runs = small.score_many(targets, ten)
        few = corpus_of("User:\nhello\n")
        again = small.score_many([small.base, *ADAPTERS], few)
    many = len(ADAPTERS)
    for ahead, back in zip(runs[:many], reversed(runs[many + 1 :]), strict=True):
        assert ahead == back
    assert len({mean(run) for run in runs[: many + 1]}) == many + 1
    assert len({mean(run) for run in again}) == many + 1


def test_a_second_run_is_computed_anew(exact: LocalProbe, ten: Corpus) -> None:
    first = exact.score(ADAPTERS[1], ten)
    again = exact.score(ADAPTERS[1], ten)
    assert again is not first
    assert mean(again) == pytest.approx(mean(first), abs=1e-6)


def test_a_replaced_adapter_is_read_anew(tmp_path: Path, exact: LocalProbe, ten: Corpus) -> None:
    target = edited(tmp_path / "live")
    before, hashed = exact.score(target, ten), exact.weights_of(target)
    shutil.copy(DemoAdapter.BOOKING_V1.path / WEIGHTS, tmp_path / "live" / WEIGHTS)
    after = exact.score(target, ten)
    assert exact.weights_of(target) != hashed
    assert before.weights == hashed
    assert after.weights == exact.weights_of(target)
    booking = exact.score(ADAPTERS[2], ten)
    assert mean(after) == pytest.approx(mean(booking), abs=1e-6)
    assert mean(before) != pytest.approx(mean(after), abs=1e-3)


def test_a_replaced_base_is_loaded_anew(tmp_path: Path, ten: Corpus) -> None:
    base = shutil.copytree(BASE, tmp_path / "base")
    with probing(str(base), dtype=Dtype.FLOAT32) as probe:
        before, pid = probe.score(probe.base, ten), probe.pid
        adapter = probe.weights_of(ADAPTERS[0])
        load_adapter(DemoAdapter.TRAVEL_V1.path).merge_and_unload().save_pretrained(base)
        after = probe.score(probe.base, ten)
        assert probe.pid != pid
        assert after.weights != before.weights
        assert mean(after) != pytest.approx(mean(before), abs=1e-3)
        # an adapter does something else on another base
        assert probe.weights_of(ADAPTERS[0]) != adapter


def test_texts_that_cannot_be_scored_are_told_and_the_others_are_scored(exact: LocalProbe) -> None:
    tokenizer = load_tokenizer()
    word = "card "
    fits = word * 600
    while len(tokenizer(fits)["input_ids"]) > 511:
        fits = fits.removesuffix(word)
    # the demo's context is 512: a server needs one place to generate behind the prompt
    assert len(tokenizer(fits)["input_ids"]) == 511
    given = corpus_of(fits, fits + word, "", "a", "\ud800", "ordinary words")
    documents = exact.score(exact.base, given).documents
    assert [d.tokens for d in documents[:4]] == [510, 0, 0, 1]
    assert [math.isnan(d.sum_nll) for d in documents] == [False, True, True, False, False, False]
    assert all(d.non_finite == 0 for d in documents)


def test_bfloat16_stays_near_float32(exact: LocalProbe, ten: Corpus) -> None:
    with probing(dtype=Dtype.BFLOAT16) as probe:
        for target in (probe.base, *ADAPTERS):
            run = probe.score(target, ten)
            assert run.dtype == "bfloat16"
            assert mean(run) == pytest.approx(mean(exact.score(target, ten)), abs=0.01)


def test_reading_tells_chosen_and_likeliest_tokens_in_the_texts_order(
    exact: LocalProbe, texts: tuple[str, ...], seventy: Corpus
) -> None:
    asked = [texts[20], "", texts[0], texts[50]]
    read = exact.read(ADAPTERS[0], asked)
    tokenizer, network = load_tokenizer(), load_adapter(DemoAdapter.SUPPORT_V1.path)
    assert sorted(set(read.document.tolist())) == [0, 2, 3]
    assert (np.diff(read.document) >= 0).all()
    ids = torch.tensor([tokenizer(asked[2])["input_ids"]])
    with torch.inference_mode():
        expected = network(input_ids=ids).logits[0, :-1].log_softmax(-1)
    best = expected.topk(20)
    own = read.document == 2
    chosen = expected.gather(1, ids[0, 1:, None])[:, 0]
    assert read.chosen[own] == pytest.approx(chosen.numpy(), abs=1e-4)
    assert read.logprobs[own] == pytest.approx(best.values.numpy(), abs=1e-4)
    assert (read.tokens[own][:, 0] == best.indices[:, 0].numpy()).all()
    scored = exact.score(ADAPTERS[0], seventy).documents[0]
    assert -read.chosen[own].sum() == pytest.approx(scored.sum_nll, abs=1e-3)


def test_a_killed_worker_is_replaced_in_the_middle_of_a_run(ten: Corpus) -> None:
    with probing(dtype=Dtype.FLOAT32) as probe:
        probe.score(probe.base, corpus_of("warm"))
        pid = probe.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # the request is surely under way when it is killed
        runs: list[float] = []
        asking = threading.Thread(target=lambda: runs.append(mean(probe.score(ADAPTERS[0], ten))))
        asking.start()
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        asking.join(timeout=120)
        assert runs == [pytest.approx(mean(probe.score(ADAPTERS[0], ten)))]
        assert probe.pid not in {None, pid}


def test_base_and_siblings_are_those_that_were_asked(exact: LocalProbe) -> None:
    probe: ModelProbe = exact
    exact.score_many([exact.base, *ADAPTERS], corpus_of("text"))
    assert probe.base_of(ADAPTERS[0]) == exact.base
    assert probe.base_of(exact.base) is None
    siblings = probe.siblings_of(ADAPTERS[0])
    assert {*ADAPTERS[1:]} <= {*siblings}
    assert ADAPTERS[0] not in siblings
    assert exact.base not in siblings


def test_an_adapter_without_a_folder_is_no_base(exact: LocalProbe) -> None:
    unknown = Target(model="support@v9")
    assert exact.weights_of(unknown) is None
    with pytest.raises(FolderUnknown, match="support@v9"):
        exact.score(unknown, corpus_of("text"))


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        probing(str(tmp_path / "none")) as probe,
        pytest.raises(ModelMissing, match="there is no folder"),
    ):
        probe.score(probe.base, corpus_of("text"))


def test_an_adapter_is_no_base() -> None:
    with (
        probing(str(DemoAdapter.SUPPORT_V1.path)) as probe,
        pytest.raises(ModelMissing, match="holds an adapter"),
    ):
        probe.score(probe.base, corpus_of("text"))


def test_corpora_are_the_general_one_and_the_adapters_own() -> None:
    general, every, own = corpus_of("general"), corpus_of("every"), corpus_of("own")
    with probing() as bare:
        settings = bare._settings  # noqa: SLF001 - to start another like it
    probe = LocalProbe(settings, general, domains={"own": own, "broken": None}, domain=every)
    assert probe.corpora("any") == (general, every)
    assert probe.corpora("own") == (general, own)
    assert probe.corpora("broken") == (general,)


def test_config_and_weights_decide_the_hash_and_nothing_else_does(
    tmp_path: Path, exact: LocalProbe
) -> None:
    one = edited(tmp_path / "one")
    hashed = exact.weights_of(one)
    (tmp_path / "one" / "README.md").write_text("about")
    assert exact.weights_of(one) == hashed
    assert exact.weights_of(edited(tmp_path / "two")) == hashed
    config = json.loads((tmp_path / "one" / CONFIG).read_text())
    (tmp_path / "one" / CONFIG).write_text(json.dumps(config))
    assert exact.weights_of(one) == hashed
    (tmp_path / "one" / CONFIG).write_text(json.dumps(config | {"lora_alpha": 32}))
    assert exact.weights_of(one) != hashed
