"""The demo's engine over HTTP and the local probe say the same of the same weights."""

import math
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest

from examples.weights import DemoAdapter
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus
from monitor.probes.local import LocalProbe
from tests.loopback import unused_port
from tests.probes.local.probing import ADAPTERS, corpus_of, mean, probing
from tests.probes.served import served

START_LIMIT_S = 90


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    port = unused_port()
    command = [sys.executable, "-m", "examples.engine", "--port", str(port)]
    for one in DemoAdapter:
        command += ["--adapter", f"{one.value}={one.path}"]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command)
    try:
        wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        except httpx2.ConnectError:
            time.sleep(0.2)
    pytest.fail("the engine did not become healthy")


def test_local_and_served_nll_agree_for_the_base_and_every_adapter(
    engine: str, exact: LocalProbe, seventy: Corpus
) -> None:
    asked = served(engine, share=1.0)
    assert len(seventy.documents) >= 60
    with probing() as automatic:
        for target in (exact.base, *ADAPTERS):
            name = "base" if target == exact.base else target.model
            by_engine = asked.score(Target(model=name), seventy)
            assert by_engine.stopped is None
            here, fast = exact.score(target, seventy), automatic.score(target, seventy)
            assert [d.tokens for d in here.documents] == [d.tokens for d in by_engine.documents]
            # the engine computes in float32: rounding alone; bfloat16 stays within .01
            assert mean(here) == pytest.approx(mean(by_engine), abs=1e-4)
            assert mean(fast) == pytest.approx(mean(by_engine), abs=0.01)
            worst = max(
                abs(a.sum_nll / a.tokens - b.sum_nll / b.tokens)
                for a, b in zip(here.documents, by_engine.documents, strict=True)
            )
            assert worst < 1e-3


def test_local_and_served_probes_leave_out_the_same_documents(
    engine: str, exact: LocalProbe
) -> None:
    long = corpus_of("card " * 400, "card " * 1200, "ordinary words")
    by_engine = served(engine, share=1.0).score(Target(model="base"), long)
    here = exact.score(exact.base, long)
    left_out = [math.isnan(d.sum_nll) for d in here.documents]
    assert left_out == [math.isnan(d.sum_nll) for d in by_engine.documents] == [False, True, False]
