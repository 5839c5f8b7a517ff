"""Six ways to go wrong, on trained adapters, a real vLLM, and clients through the gateway.

Base and adapters are kept in ``build/adapters/cache``: the first run trains them for minutes.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.adapters.command import USUAL, main
from benchmarks.adapters.engine import PYTHON
from benchmarks.adapters.page.goals import MOST_REQUESTS

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(2400),
    pytest.mark.filterwarnings("default"),  # a benchmark's libraries warn as they like
]

Outcome = Mapping[str, Any]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """What Driftline made of a way."""
    if not PYTHON.is_file():
        pytest.skip("no vLLM here: `make engine` installs it into .venv-engine and runs this")
    into: Path = tmp_path_factory.mktemp("ways")
    few = ["--adapters", "bank,concierge", "--requests", "32"]
    assert main(["--quick", *few, "--into", str(into), "--cache", str(USUAL / "cache")]) == 0

    def read(way: str) -> Outcome:
        truth = json.loads((into / way / "0" / "truth.json").read_text())
        found = json.loads((into / way / "0" / "driftline.json").read_text())
        return {**truth, **found}

    return read


def within_the_goal(found: Outcome) -> bool:
    """Whether a page came within 100 requests, or of the first probe after the break."""
    page = found["page"]
    if page is None:
        return False
    probed = page["by"] == "probe" or "perplexity" in page["detectors"]
    return page["requests"] <= MOST_REQUESTS or (probed and page["probes"] == 1)


def test_the_base_under_the_adapters_name_pages_and_blames_serving(
    outcome: Callable[[str], Outcome],
) -> None:
    found = outcome("base-under-the-name")
    assert found["kl"] >= 0.1
    assert within_the_goal(found)
    assert found["blame"] == "serving"


def test_damaged_weights_page_blame_the_adapter_and_move_traffic(
    outcome: Callable[[str], Outcome],
) -> None:
    found = outcome("alpha-doubled")
    assert found["kl"] >= 0.05
    assert within_the_goal(found)
    assert found["blame"] == "adapter"
    assert found["moved"]


def test_answers_without_numbers_page_and_move_traffic(outcome: Callable[[str], Outcome]) -> None:
    found = outcome("not-a-number")
    assert within_the_goal(found)
    assert found["moved"]
    assert set(found["causes"]) - {"unknown"} == {"adapter"}  # an update may name it


def test_a_new_topic_is_told_wakes_nobody_and_moves_nothing(
    outcome: Callable[[str], Outcome],
) -> None:
    found = outcome("new-topic-100")
    assert found["ticket"]
    assert found["causes"] == ["input"]
    assert found["page"] is None
    assert found["moved"] is None


def test_a_system_prompt_that_an_application_adds_is_told_and_moves_nothing(
    outcome: Callable[[str], Outcome],
) -> None:
    found = outcome("system-prompt-added")
    assert found["ticket"]
    assert found["blame"] == "input"
    assert found["moved"] is None


def test_the_same_weights_saved_again_are_not_told_of(outcome: Callable[[str], Outcome]) -> None:
    found = outcome("saved-again")
    assert found["kl"] < 0.01
    assert found["probes"] >= 1  # the first that reads the other files
    assert (found["ticket"], found["page"], found["moved"]) == (None, None, None)
    assert (found["blind"], found["false_before"]) == (0, 0)
