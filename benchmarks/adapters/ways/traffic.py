"""Other users come, or they ask for other things; models, engine and prompts are as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from benchmarks.adapters.tasks import pairs
from benchmarks.adapters.ways.way import Ask, ChangesAsk, Expected, Moment, OfClients, Way

FAMILY: Final = "traffic"
BOTS: Final = 3
NEW_TOPIC: Final = "voice"
"""What nobody was trained on: commands to a voice assistant."""


def new_topic(ask: Ask, moment: Moment, share: float) -> Ask:
    """A share of the questions is about something that no adapter knows."""
    if moment.chance.random() >= share:
        return ask
    return _saying(ask, moment.chance.choice(pairs(NEW_TOPIC)).prompt)


def mix_shift(ask: Ask, moment: Moment) -> Ask:
    """Known questions come in another mix: only those of the first eighth of kinds are asked."""
    kinds = sorted({pair.kind for pair in moment.task.live})
    asked = [pair for pair in moment.task.live if pair.kind in kinds[: max(1, len(kinds) // 8)]]
    return _saying(ask, moment.chance.choice(asked).prompt)


def bots(ask: Ask, moment: Moment) -> Ask:
    """Half of the requests are the same three questions of three bots."""
    if moment.chance.random() < 0.5:  # noqa: PLR2004 - said in the docstring
        return ask
    bot = moment.chance.randrange(BOTS)
    return replace(_saying(ask, moment.task.live[bot].prompt), user=f"bot-{bot}")


def heavy_user(ask: Ask, moment: Moment) -> Ask:
    """One user makes six of ten requests, about one kind of thing."""
    if moment.chance.random() >= 0.6:  # noqa: PLR2004 - said in the docstring
        return ask
    kind = moment.task.live[0].kind
    own = [pair for pair in moment.task.live if pair.kind == kind]
    return replace(_saying(ask, moment.chance.choice(own).prompt), user="heavy-user")


def _saying(ask: Ask, text: str) -> Ask:
    return replace(ask, messages=(*ask.messages[:-1], {"role": "user", "content": text}))


def _way(name: str, says: str, change: ChangesAsk, *, seen: bool) -> Way:
    return Way(
        name=name,
        family=FAMILY,
        says=says,
        fault=OfClients(change=change),
        expected=Expected(seen=seen, blame=("input",)),
    )


WAYS: Final = (
    _way(
        "new-topic-5",
        "5 % of the questions are about something new",
        lambda ask, moment: new_topic(ask, moment, 0.05),
        seen=True,
    ),
    _way(
        "new-topic-20",
        "20 % of the questions are about something new",
        lambda ask, moment: new_topic(ask, moment, 0.2),
        seen=True,
    ),
    _way(
        "new-topic-100",
        "all questions are about something new",
        lambda ask, moment: new_topic(ask, moment, 1.0),
        seen=True,
    ),
    _way("mix-shift", "only a few of the known kinds of questions come", mix_shift, seen=True),
    _way("bots", "three bots repeat three questions, half of the traffic", bots, seen=False),
    _way("heavy-user", "one user makes six of ten requests", heavy_user, seen=False),
)
