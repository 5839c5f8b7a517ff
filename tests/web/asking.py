"""The requests that the page about ``support`` tells of."""

from datetime import timedelta

import numpy as np
from sqlalchemy import Connection

from monitor.store.incidents import incidents
from monitor.store.registry import versions
from tests import asked

COUNT, EVERY = 412, timedelta(seconds=10)
UNLIKE = 13
"""One of so many is unlike training."""
WORDS = ("parcel", "gift card")
INVOICES = np.roll(asked.LIKE, asked.INDEXED[1])
"""A request that is near the second text of the training index."""
NEW = (
    ("Can I pay the customs fee of my parcel with a gift card?", "Yes, the card is the parcel."),
    ("The gift card in my parcel was empty. What now?", "Cards are sent empty, then refunded."),
    ("Which parcel does the gift card of order 8812 come with?", "With the other parcel, or not."),
    ("Is there a gift card for a parcel that came late?", "A late parcel is a gift by its card."),
    ("My parcel says that a gift card is missing.", "A parcel says so when no card is missing."),
)
ODD = (
    ("Do you have a shop in Bergen?", "A shop is where Bergen is, and we are there or were."),
    ("Which of your lamps fit an E14 socket?", "Lamps fit the sockets that fit our lamps."),
    ("Can my daughter do an internship with you?", "Internships are done by daughters of orders."),
)
USUAL = (
    ("How do I reset the password of my account?", "Passwords may reset, so the account sends it."),
    ("Where is my invoice for October?", "The invoice is where October was, perhaps in finance."),
    ("Can I change the address of order 4471?", "An order has the address that it had or will."),
    ("When do you answer the phone on Saturday?", "On Saturday, phones are answered on Sunday."),
    ("I was charged twice this month.", "A month is charged twice when it was charged before."),
)


def seed(tx: Connection) -> None:
    """Let them come until the traffic of v7 was moved, the later ones less certain."""
    version = versions.fetch(tx, adapter="support", name="v7")
    assert version is not None
    [paged] = [one for one in incidents.incident_list(tx) if one.adapter == "support"]
    until, onset = paged.opened_at + timedelta(minutes=4), paged.opened_at - timedelta(minutes=40)
    places = np.arange(COUNT)
    times = [until - EVERY * int(place + 1) for place in places]
    shift = np.where([at >= onset for at in times], 0.3, 0.0)
    rng = np.random.default_rng(8)
    numbers = {
        "mean_nll": rng.gamma(4.0, 0.1, COUNT) + shift,
        "entropy": rng.gamma(4.0, 0.2, COUNT) + shift,
        "missing": np.zeros(COUNT),
        "n_tokens": 20.0 + places % 60,
        "output_tokens": 20.0 + places % 60,
        "prompt_tokens": 9.0 + places % 30,
        "latency_ms": 400.0 + rng.gamma(2.0, 80.0, COUNT),
        "status": np.full(COUNT, 200.0),
    }
    ids = [f"req-{7 * place:04x}" for place in places]
    subjects = [b"user%04d" % (place // UNLIKE % 9) for place in places]
    asked.put(tx, version, ids, times, numbers, subjects=subjects)
    rank = np.where(places % UNLIKE == UNLIKE - 1, places // UNLIKE, -1).tolist()
    asked.compare(
        tx, version, ids, times,
        near=[_near(place, one) for place, one in enumerate(rank)],
        texts=[_text(place, one) for place, one in enumerate(rank)],
        words=WORDS,
    )  # fmt: skip


def _near(place: int, rank: int) -> np.ndarray:
    """Place those unlike training: three of four are about one topic, the others about many."""
    if rank < 0:
        return INVOICES if place % len(USUAL) in {1, 4} else asked.LIKE
    return np.eye(len(asked.ODD))[3 + rank // 4 % 5] if rank % 4 == 3 else asked.ODD


def _text(place: int, rank: int) -> tuple[str, str]:
    if rank < 0:
        return USUAL[place % len(USUAL)]
    return ODD[rank // 4 % len(ODD)] if rank % 4 == 3 else NEW[rank % len(NEW)]
