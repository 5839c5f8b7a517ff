"""Sections of a page: each is read and drawn apart, so that one that fails takes no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from markupsafe import Markup

from monitor.web.frame import Frame

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page.

    ``read`` returns what the template of its name draws, from a transaction of its own: a statement
    that fails ends the transaction that it is in.
    """

    name: str
    title: str
    read: Callable[[], Mapping[str, Any]]


def drawn(frame: Frame, sections: Iterable[Section], **common: Any) -> dict[str, Markup]:
    """Draw each section; in place of one that fails stands that it failed."""
    return {section.name: _drawn(frame, section, common) for section in sections}


def _drawn(frame: Frame, section: Section, common: Mapping[str, Any]) -> Markup:
    try:
        template = f"sections/{section.name}.html"
        return frame.drawn(template, section=section, **{**common, **section.read()})
    except Exception:  # noqa: BLE001 (one section of many: its place says that it failed)
        _LOG.exception("section_failed", section=section.name)
        return frame.drawn("sections/failed.html", section=section)
