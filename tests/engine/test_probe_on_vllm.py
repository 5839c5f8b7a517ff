"""The served perplexity probe against a real vLLM, with live requests beside it."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.texts import Domain, corpus
from examples.weights import MODELS
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus, Document
from monitor.probes.perplexity import LARGEST_ANSWER, PerplexityRun, PerplexitySettings
from monitor.probes.prompt_logprobs import PerplexitySource
from monitor.probes.serving import Engines, ServedProbe
from tests.engine.conftest import SERVED, Vllm
from tests.loopback import LOOPBACK
from tests.probes.local.probing import corpus_of, mean, probing

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

HTTP = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=LARGEST_ANSWER))
OWN = {"support@v1": Domain.SUPPORT, "booking@v1": Domain.BOOKING, "travel@v1": Domain.TRAVEL}


def texts(domain: Domain, count: int) -> Corpus:
    return Corpus(
        name=domain.value,
        documents=tuple(
            Document(id=f"{domain}-{number}", text=text)
            for number, text in enumerate(corpus(domain, count))
        ),
    )


def probe(
    vllm: Vllm, model: str, documents: Corpus, source: PerplexitySource = PerplexitySource.AUTO
) -> PerplexityRun:
    # requests of the test itself wait beside the probe: that is what it is to bear
    settings = PerplexitySettings(source=source, max_waiting=1_000)
    engines = Engines([vllm.url], HTTP, headers={})
    asked = ServedProbe(general=documents, engines=engines, http=HTTP, settings=settings)
    return asked.score(Target(model=model), documents)


def perplexity(run: PerplexityRun) -> float:
    assert run.stopped is None
    scored = [d for d in run.documents if d.tokens]
    return math.exp(sum(d.sum_nll for d in scored) / sum(d.tokens for d in scored))


def test_every_adapter_is_at_home_in_its_own_domain_and_forgets_general_text(vllm: Vllm) -> None:
    matrix = {
        model: {d: perplexity(probe(vllm, model, texts(d, 15))) for d in Domain}
        for model in ("base", *SERVED)
    }
    for model, own in OWN.items():
        assert matrix[model][own] < 0.9 * matrix["base"][own]
        assert matrix[model][own] == min(matrix[m][own] for m in matrix)
        assert matrix[model][Domain.GENERAL] > matrix["base"][Domain.GENERAL]


def test_both_ways_of_asking_vllm_give_the_same_scores(vllm: Vllm) -> None:
    asked = texts(Domain.SUPPORT, 20)
    one = probe(vllm, "support@v1", asked, PerplexitySource.PROMPT_LOGPROBS)
    other = probe(vllm, "support@v1", asked, PerplexitySource.ECHO)
    assert one.engine == "vllm 0.32.0"
    assert [d.tokens for d in one.documents] == [d.tokens for d in other.documents]
    assert [d.sum_nll for d in one.documents] == pytest.approx(
        [d.sum_nll for d in other.documents], abs=1e-3
    )


def test_vllm_and_the_local_probe_say_the_same_of_the_same_weights(vllm: Vllm) -> None:
    asked = corpus_of(*(text for domain in Domain for text in corpus(domain, 6)))
    folders = {"base": None} | {name: MODELS / folder for name, folder in SERVED.items()}
    with probing() as local:
        for model, folder in folders.items():
            served = probe(vllm, model, asked)
            target = Target(model=model, folder=folder) if folder else local.base
            here = local.score(target, asked)
            assert [d.tokens for d in here.documents] == [d.tokens for d in served.documents]
            assert mean(here) == pytest.approx(mean(served), abs=0.01)


def test_two_hundred_documents_of_three_adapters_beside_live_requests(vllm: Vllm) -> None:
    with live_requests(vllm) as answered:
        runs = {model: probe(vllm, model, texts(own, 80)) for model, own in OWN.items()}
    assert all(run.stopped is None for run in runs.values())
    assert sum(len(run.documents) for run in runs.values()) == 240
    assert len(answered) > 20
    assert not [text for text in answered if text is None]
    assert vllm.alive()
    quiet = probe(vllm, "support@v1", texts(Domain.SUPPORT, 80))
    moves = [
        abs(a.sum_nll - b.sum_nll) / a.tokens
        for a, b in zip(quiet.documents, runs["support@v1"].documents, strict=True)
    ]
    # other batches change the order of sums, not the model: within four noise floors
    assert max(moves) < 4e-3


def test_loading_and_unloading_adapters_does_not_disturb_a_probe(vllm: Vllm) -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.wait(0.05):
            vllm.load("guest", MODELS / "support-v2")
            vllm.answer("guest", "hello", tokens=4)
            vllm.unload("guest")

    others = threading.Thread(target=churn)
    others.start()
    try:
        run = probe(vllm, "travel@v1", texts(Domain.TRAVEL, 60))
    finally:
        stop.set()
        others.join()
    assert (run.stopped, len(run.documents)) == (None, 60)
    assert vllm.alive()


def test_an_adapter_unloaded_while_it_is_probed_stops_the_run(vllm: Vllm) -> None:
    vllm.load("leaving", MODELS / "support-v2")
    gone = threading.Timer(0.5, vllm.unload, ("leaving",))
    gone.start()
    run = probe(vllm, "leaving", texts(Domain.SUPPORT, 300))
    gone.join()
    assert run.stopped is not None
    assert "404" in run.stopped
    assert 0 < len(run.documents) < 300
    assert vllm.alive()


def test_weights_broken_in_place_of_the_right_ones_are_harder_by_far(
    vllm: Vllm, broken: Path
) -> None:
    asked = texts(Domain.SUPPORT, 30)
    right = perplexity(probe(vllm, "support@v1", asked))
    with vllm.instead("support@v1", broken):
        assert perplexity(probe(vllm, "support@v1", asked)) > 1.5 * right
    assert perplexity(probe(vllm, "support@v1", asked)) == pytest.approx(right, rel=1e-3)


@contextmanager
def live_requests(vllm: Vllm) -> Iterator[list[str | None]]:
    """Three users who ask all the time; None stands for a request that failed."""
    stop = threading.Event()
    answered: list[str | None] = []

    def user(model: str) -> None:
        while not stop.is_set():
            try:
                answered.append(vllm.answer(model, "User: I lost my debit card.", tokens=16))
            except httpx2.HTTPError:
                answered.append(None)

    users = [threading.Thread(target=user, args=(model,)) for model in SERVED]
    for one in users:
        one.start()
    try:
        yield answered
    finally:
        stop.set()
        for one in users:
            one.join()
