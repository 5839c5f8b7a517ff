"""The filter of the fleet page: the search fields, and the number of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from alerts.types import VerdictKind
from monitor.store.traffic.fleet import FleetRow

SHOWN: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFilter:
    """The search fields; an empty field matches all. ``text`` is part of an adapter's name.

    ``page`` counts from 1.
    """

    text: str = ""
    verdict: VerdictKind | None = None
    owner: str = ""
    tier: str = ""
    base: str = ""
    page: int = 1

    @property
    def narrows(self) -> bool:
        """Whether the filter leaves any adapter out."""
        return any((self.text, self.verdict, self.owner, self.tier, self.base))

    def accepts(self, row: FleetRow) -> bool:
        """Whether the filter lets an adapter through."""
        base = row.version.base_model if row.version else None
        return (
            self.text.casefold() in row.adapter.name.casefold()
            and self.verdict in {None, row.verdict}
            and self.owner in {"", row.adapter.owner}
            and self.tier in {"", row.adapter.tier}
            and self.base in {"", base}
        )

    def shown(self, rows: Sequence[FleetRow]) -> Sequence[FleetRow]:
        """Return one page of the rows."""
        return rows[(self.page - 1) * SHOWN : self.page * SHOWN]

    def more(self, of: int) -> bool:
        """Whether pages follow this one, with ``of`` rows in all."""
        return self.page * SHOWN < of

    def link(self, page: int) -> str:
        """Return the address of another page with the same filter."""
        asked = {
            "q": self.text,
            "verdict": self.verdict or "",
            "owner": self.owner,
            "tier": self.tier,
            "base": self.base,
            "page": page if page > 1 else "",
        }
        given = {name: value for name, value in asked.items() if value}
        return f"/?{urlencode(given)}" if given else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChoices:
    """The choices that the form offers."""

    verdicts: Sequence[VerdictKind]
    owners: Sequence[str]
    tiers: Sequence[str]
    bases: Sequence[str]


def choices_of(rows: Sequence[FleetRow]) -> FleetChoices:
    """Return the choices that match at least one adapter."""
    bases = {row.version.base_model for row in rows if row.version}
    return FleetChoices(
        verdicts=[kind for kind in VerdictKind if any(row.verdict is kind for row in rows)],
        owners=sorted({row.adapter.owner for row in rows if row.adapter.owner}),
        tiers=sorted({row.adapter.tier for row in rows}),
        bases=sorted(base for base in bases if base),
    )
