"""Act two: booking's users ask something new. A ticket; no page, no route change."""

import time
from collections.abc import Sequence
from typing import Final

from examples.demo.acts import signs
from examples.demo.lookout import Sight
from examples.demo.outcome import ActResult
from examples.demo.questions import Topic
from examples.demo.receiver import Message
from examples.demo.stage import Stage
from examples.texts import NEW_TOPIC, pairs

TICKET_S: Final = 400.0
BLAMED_S: Final = 600.0
NO_PAGE_S: Final = 20.0
SHARE: Final = 0.6
EXAMPLES: Final = 5


def topic(stage: Stage) -> ActResult:
    """Play it."""
    result = ActResult(title="2 · users change topic")
    stage.narrator.title("Act 2: booking's users begin to ask about something else")
    stage.narrator.say(
        f"{SHARE:.0%} of booking's users now speak to a smart home, which no adapter was trained"
        " on; the model itself is as good as ever"
    )
    before = stage.look()
    questions = stage.traffic.questions["booking"]
    questions.topic = Topic(domain=NEW_TOPIC, share=SHARE)
    changed = time.monotonic()
    stage.watch("until a ticket arrives", seconds=TICKET_S, until=signs.told("booking@v1"))
    stage.watch("a page would arrive by now, if there were one", seconds=NO_PAGE_S)
    after = stage.watch(
        "until a probe has found the model as it was, and the inputs are blamed",
        seconds=BLAMED_S,
        until=signs.every(
            signs.measured("booking"),
            signs.drifting("booking", "input_similarity"),
            signs.blamed("booking", "input"),
        ),
    ).sight
    questions.back_to_normal()
    stage.narrator.say(
        "topic back to normal; the verdict lasts until its evidence has fallen over the recovery"
        " window, which the next act does not wait for"
    )
    _check_ticket(result, after.messages[len(before.messages) :], changed=changed)
    _check_fleet(result, before, after)
    return result


def _check_ticket(result: ActResult, sent: Sequence[Message], *, changed: float) -> None:
    first = next((message for message in sent if message.subject == "booking@v1"), None)
    kind = f"{first.severity}, {first.status}" if first else "nothing"
    result.check("a ticket about booking@v1 arrived", kind == "ticket, started", seen=kind)
    paged = signs.pages(list(sent))
    result.check("no page arrived", not paged, seen=len(paged))
    others = [message.subject for message in sent if message.subject != "booking@v1"]
    result.check("no message about anybody else", not others, seen=others)
    if first is None:
        return
    result.took("topic change to ticket", first.received - changed)
    unlike = first.body.get("unlike") or {"count": 0, "of": 0}
    result.check(
        "the ticket counts the requests unlike training",
        unlike["count"] > 0,
        seen=f"{unlike['count']} of {unlike['of']}",
    )
    shown = list(first.body.get("examples") or ())
    known = {pair.prompt for pair in pairs(NEW_TOPIC)}
    result.check(
        f"it shows the {EXAMPLES} least similar requests, all of the new topic",
        len(shown) == EXAMPLES and known.issuperset(shown),
        seen=f"{sum(text in known for text in shown)} of {len(shown)}",
    )


def _check_fleet(result: ActResult, before: Sight, after: Sight) -> None:
    booking = after.adapters["booking"].state
    result.check("booking is drifting", booking.verdict == "drifting", seen=booking.verdict)
    by_itself = booking.verdict_of("input_similarity")
    result.check("input_similarity is drifting", by_itself == "drifting", seen=by_itself)
    result.check("the inputs are to blame", booking.blame == "input", seen=booking.blame)
    others = signs.unsettled(after, besides="booking")
    result.check("the other adapters are stable", not others, seen=others or "")
    still = after.generations == before.generations
    result.check("no route changed", still, seen=after.generations)
