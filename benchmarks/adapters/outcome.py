"""What became of a way to go wrong, from what on-call, clients and routers saw. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

PROBABLE: Final = "likely"
"""Stands in the words of a cause that is not confirmed."""
QUIET: Final = frozenset({"updated", "recovered"})
"""Messages that tell more of what was told, or its end."""
PROBES: Final = frozenset({"perplexity"})
BLIND: Final = "blind"
UNKNOWN: Final = "unknown"
"""The blame of who says that the cause is not known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message as on-call got it."""

    at: datetime
    body: Mapping[str, Any]

    @property
    def adapters(self) -> set[str]:
        """Whom it is about; of a fleet incident all its members, of a group all in it."""
        group = (self.body.get("group") or {}).get("alerts", ())
        members = (self.body.get("together") or {}).get("members", ())
        named = {str(self.body.get("adapter") or "")} | {str(one["adapter"]) for one in group}
        return named | {str(member).partition("@")[0] for member in members}

    @property
    def of_sight(self) -> bool:
        """Whether it says only that Driftline compares too little, whatever made it so."""
        return self.body.get("kind") == BLIND and self.body["blame"] == UNKNOWN

    @property
    def wakes(self) -> bool:
        """Whether it is new, and not the end or a detail of what was told."""
        return self.body["status"] not in QUIET

    @property
    def pages(self) -> bool:
        """Whether it wakes somebody now."""
        return self.wakes and self.body["severity"] == "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """When a router first saw that the version no longer answers everybody."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that was seen of one experiment.

    adapters
        Those that the fault hits: a message about any of them counts as seen.
    told
        All messages, of other adapters too.
    others_moved
        Adapters that the fault does not hit, and whose route left the version in charge.
    probes
        When each probe ended that began after the fault.
    """

    adapters: frozenset[str]
    broken_at: datetime
    told: Sequence[Told]
    moved: Moved | None
    broken: Sequence[datetime]
    """When each request was made that the broken version answered through the gateway."""
    probes: Sequence[datetime]
    cpu_s: float
    incidents: Sequence[Mapping[str, Any]]
    blame_now: str | None
    others_moved: Sequence[str] = ()


def outcome(seen: Seen) -> dict[str, Any]:
    """Write it down as ``driftline.json`` has it."""
    about = [one for one in seen.told if seen.adapters & one.adapters]
    others = [one for one in seen.told if one.wakes and not seen.adapters & one.adapters]
    before = [one for one in about if one.wakes and one.at < seen.broken_at]
    since = [one for one in about if one.wakes and one.at >= seen.broken_at]
    after = [one for one in since if not one.of_sight]  # which says nothing of the fault
    page = next((one for one in after if one.pages), None)
    first = page or (after[0] if after else None)
    return {
        "ticket": _when(seen, after[0]) if after else None,
        "page": _when(seen, page) | _by(page.body) | _probed(seen, page) if page else None,
        "false_before": len(before),
        "others_told": len(others),
        "others_moved": list(seen.others_moved),
        "blind": len(since) - len(after),
        "blame": str(first.body["blame"]) if first else None,
        "causes": causes(about, since=seen.broken_at),
        "blame_now": seen.blame_now,
        "confidence": _confidence(first.body) if first else None,
        "moved": _when(seen, seen.moved) if seen.moved else None,
        "answered_broken": len(seen.broken),
        "probes": len(seen.probes),
        "cpu_s": round(seen.cpu_s, 1),
        "reason": str(first.body["reason"]) if first else None,
        "incidents": list(seen.incidents),
    }


def causes(told: Sequence[Told], *, since: datetime) -> list[str]:
    """Return the causes that messages gave, updates included, each once and in their order."""
    said = [
        one
        for one in told
        if one.at >= since and one.body["status"] != "recovered" and not one.of_sight
    ]
    return list(dict.fromkeys(str(one.body["blame"]) for one in said))


def _when(seen: Seen, what: Told | Moved) -> dict[str, Any]:
    """When, how many seconds after the fault, and after how many requests to the broken version."""
    return {
        "at": what.at.isoformat(),
        "after_s": round((what.at - seen.broken_at).total_seconds(), 1),
        "requests": sum(at <= what.at for at in seen.broken),
    }


def _by(body: Mapping[str, Any]) -> dict[str, Any]:
    """Whether records crossed their page line, or only the probe of fixed texts did; and which.

    A probe also pages by the weights that it recognises, whichever of its lines it crossed.
    """
    crossed = {
        str(one["detector"])
        for one in body.get("scores") or ()
        if (one.get("process") == "page" or one["detector"] in PROBES)
        and (one.get("evidence") or 0.0) >= 0.0
    }
    by = "records" if crossed - PROBES else "probe" if crossed else None
    return {"by": by, "detectors": sorted(crossed)}


def _probed(seen: Seen, page: Told) -> dict[str, Any]:
    """How many probes, of those that began after the fault, had ended before the page came."""
    return {"probes": sum(ended <= page.at for ended in seen.probes)}


def _confidence(body: Mapping[str, Any]) -> str | None:
    """How sure a message is of the cause; None: it names none."""
    if body["blame"] == UNKNOWN:
        return None
    return PROBABLE if PROBABLE in str(body.get("cause") or "") else "confirmed"
