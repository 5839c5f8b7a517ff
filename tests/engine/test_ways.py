"""Six ways to go wrong, on trained adapters, a real vLLM, and clients through the gateway.

Base and adapters are kept in ``build/adapters/cache``: the first run trains them for minutes.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.adapters.command import USUAL, main
from benchmarks.adapters.engine import PYTHON
from benchmarks.adapters.page.goals import paged_by
from benchmarks.adapters.page.results import Repeat, collect

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(2400),
    pytest.mark.filterwarnings("default"),  # a benchmark's libraries warn as they like
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Repeat]:
    """Play the six ways; gives the experiment of one."""
    if not PYTHON.is_file():
        pytest.skip("no vLLM here: `make engine` installs it into .venv-engine and runs this")
    into: Path = tmp_path_factory.mktemp("ways")
    few = ["--adapters", "bank,concierge", "--requests", "32"]
    assert main(["--quick", *few, "--into", str(into), "--cache", str(USUAL / "cache")]) == 0
    found = {way.way: way.repeats for way in collect(into).ways}

    def one(way: str) -> Repeat:
        [repeat] = found[way]
        return repeat

    return one


def paged_in_time(found: Repeat) -> bool:
    """Whether a page came within 100 requests, or of the first probe after the break."""
    return paged_by(found, cycle=None) is not None


def known_kl(found: Repeat) -> float:
    assert found.kl is not None
    return found.kl


def test_the_base_under_the_adapters_name_pages_and_blames_serving(
    played: Callable[[str], Repeat],
) -> None:
    found = played("base-under-the-name")
    assert known_kl(found) >= 0.1
    assert paged_in_time(found)
    assert found.driftline.blame == "serving"
    assert found.driftline.named == {"serving"}  # no update names another
    assert found.driftline.others == 0


def test_damaged_weights_page_blame_the_adapter_and_move_traffic(
    played: Callable[[str], Repeat],
) -> None:
    found = played("alpha-doubled")
    assert known_kl(found) >= 0.05
    assert paged_in_time(found)
    assert found.driftline.blame == "adapter"
    assert found.driftline.moved


def test_answers_without_numbers_page_and_move_traffic(played: Callable[[str], Repeat]) -> None:
    found = played("not-a-number")
    assert paged_in_time(found)
    assert found.driftline.moved
    assert found.driftline.named == {"adapter"}  # an update may name it


def test_a_new_topic_is_told_wakes_nobody_and_moves_nothing(
    played: Callable[[str], Repeat],
) -> None:
    told = played("new-topic-100").driftline
    assert told.ticket
    assert told.causes == ("input",)
    assert (told.page, told.moved) == (None, None)


def test_a_system_prompt_that_an_application_adds_is_told_and_moves_nothing(
    played: Callable[[str], Repeat],
) -> None:
    told = played("system-prompt-added").driftline
    assert told.ticket
    assert told.blame == "input"
    assert told.moved is None


def test_the_same_weights_saved_again_are_not_told_of(played: Callable[[str], Repeat]) -> None:
    found = played("saved-again")
    told = found.driftline
    assert known_kl(found) < 0.01
    assert told.probes >= 1  # the first that reads the other files
    assert (told.ticket, told.page, told.moved) == (None, None, None)
    assert (told.blind, told.false_before) == (0, 0)
