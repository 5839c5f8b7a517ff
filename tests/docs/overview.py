"""The overview in docs/detectors.md, written from the table of detectors.

``python -m tests.docs.overview`` writes it anew (``make docs``).
"""

from collections.abc import Iterable
from typing import Any

from detectors import DETECTORS
from detectors.detector import Detector
from detectors.signals import SIGNALS, main_signal, needed
from detectors.words import plain_words
from tests.docs.pages import DOCS

PAGE = DOCS / "detectors.md"
BEGIN, END = "<!-- overview: make docs -->\n\n", "\n<!-- end of the overview -->\n"
HEAD = [
    "detector",
    "says",
    "reads",
    "needs",
    "among requests with the same",
    "wakes",
    "moves traffic",
]
MOST = 4


def overview(detectors: Iterable[Detector[Any]]) -> str:
    """Write one line a detector: what it says, reads and needs, and whom it wakes."""
    rows = [HEAD, ["---"] * len(HEAD), *map(_cells, detectors)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(detector: Detector[Any]) -> list[str]:
    signal, profile = main_signal(detector), detector.profile
    settings = sorted(needed(detector.signals))
    return [
        f"`{detector.name}`",
        plain_words(detector.name, None),
        _named(detector.signals) or "what people name",
        signal.part.field if signal is not None and signal.part is not None else "feedback",
        ", ".join(f"`{one}`" for one in settings) or "(any)",
        _wakes(detector),
        "yes" if profile.side.moves_traffic and detector.pages else "no",
    ]


def _named(signals: tuple[str, ...]) -> str:
    shown = [f"`{one}`" for one in signals if one in SIGNALS][:MOST]
    return ", ".join(shown) + (" …" if len(signals) > MOST else "")


def _wakes(detector: Detector[Any]) -> str:
    if not detector.pages:
        return "tickets"
    if detector.hard:
        return "**hard**: pages within a minute"
    waits = detector.profile.side.asks_probe
    return f"tickets, and pages {'once a probe has looked' if waits else 'at once'}"


def written(page: str, detectors: Iterable[Detector[Any]]) -> str:
    """Put the overview of these detectors into the page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{overview(detectors)}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), DETECTORS.values()), encoding="utf-8")
