"""What probes cost an engine, as the page says it; the engine itself is measured by hand."""

from pathlib import Path

import pytest

from benchmarks.live import probes_page
from benchmarks.live.probes import ProbeCosts

COSTS = ProbeCosts(
    engine="vllm 0.32.0",
    documents=60,
    alone=21.6,
    documents_at_once=18.0,
    adapters_at_once=20.0,
    cached=0,
    throughput={"0": [40.0, 44.0, 41.0], "0.1": [36.9, 37.0, 38.0], "1": [20.0, 21.0, 22.0]},
)


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "results" / "probes.json"
    monkeypatch.setattr(probes_page, "FILE", file)
    return file


def test_costs_survive_their_file(stored: Path) -> None:
    assert probes_page.section() == ""
    probes_page.keep(COSTS)
    assert stored.exists()
    assert probes_page.known() == COSTS


def test_throughput_is_compared_with_that_of_an_engine_without_probes() -> None:
    probes_page.keep(COSTS)
    assert (
        "| beside 8 clients, probes take 10% of the time | 37.0 tokens/s, 90% (36.9 to 38.0) |"
    ) in probes_page.section()


def test_fleets_are_probed_as_often_as_the_share_allows() -> None:
    probes_page.keep(COSTS)
    lines = probes_page.section().splitlines()
    rows = [one for one in lines if one.startswith(("| 200", "| 500", "| 1,000"))]
    assert rows == [
        "| 200 | 16 h | 6,480 | 7.5% |",
        "| 500 | 40 h | 6,480 | 7.5% |",
        "| 1,000 | 3.3 d | 6,480 | 7.5% |",
    ]
