"""Match alerts to channels and silences, by equality and membership only.

In the config::

    [[channels]]
    match = { severity = "page", tier = ["gold", "silver"], labels = { team = "search" } }
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from alerts.types import Blame, Kind, Severity

WORDS: Final[Mapping[str, type[StrEnum]]] = {"severity": Severity, "kind": Kind, "blame": Blame}
"""Facts whose values come from a closed set."""
NAMES: Final = ("adapter", "version", "owner", "tier")
"""Facts whose values people choose."""
KEYS: Final = (*NAMES, *WORDS, "labels")

Values = frozenset[str]


class Matchable(Protocol):
    """The facts to match: an :class:`alerts.message.Alert`, or an incident as it stands."""

    @property
    def adapter(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def owner(self) -> str | None: ...
    @property
    def tier(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def blame(self) -> Blame: ...
    @property
    def labels(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """Accepted values for each fact; None accepts all, and all named labels must match."""

    adapter: Values | None = None
    version: Values | None = None
    owner: Values | None = None
    tier: Values | None = None
    severity: Values | None = None
    kind: Values | None = None
    blame: Values | None = None
    labels: Mapping[str, Values] = field(default_factory=dict)

    def accepts(self, facts: Matchable) -> bool:
        """True if every condition holds; a missing owner or label satisfies none."""
        named = ((getattr(self, key), getattr(facts, key)) for key in (*NAMES, *WORDS))
        return all(wanted is None or fact in wanted for wanted, fact in named) and all(
            facts.labels.get(name) in wanted for name, wanted in self.labels.items()
        )


def to_json(matcher: Matcher) -> dict[str, object]:
    """Write a matcher as its ``match`` table, which parses to an equal matcher."""
    facts = {key: getattr(matcher, key) for key in (*NAMES, *WORDS)}
    table: dict[str, object] = {key: sorted(wanted) for key, wanted in facts.items() if wanted}
    if matcher.labels:
        table["labels"] = {name: sorted(wanted) for name, wanted in matcher.labels.items()}
    return table


def parse_matcher(match: Mapping[str, object]) -> Matcher:
    """Read a ``match`` table: each value is a string or a list of strings.

    Raises
    ------
    ValueError
        An unknown key (the nearest known one is named), an unknown word, or a value
        that is neither a string nor a list of strings.
    """
    for key in match:
        if key not in KEYS:
            raise ValueError(f"match has no {key!r}{_hint(key)}; it knows {', '.join(KEYS)}")
    labels = match.get("labels", {})
    if not isinstance(labels, Mapping):
        raise ValueError("match.labels must be a table of label = value")  # noqa: TRY004 - a wrong config
    return Matcher(
        **{name: _values(match, name) for name in NAMES},
        **{name: _known(_values(match, name), name) for name in WORDS},
        labels={str(name): _listed(value, f"labels.{name}") for name, value in labels.items()},
    )


def _hint(key: str) -> str:
    near = difflib.get_close_matches(key, KEYS, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _values(match: Mapping[str, object], key: str) -> Values | None:
    return _listed(match[key], key) if key in match else None


def _listed(value: object, key: str) -> Values:
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
        return frozenset(str(item) for item in value)
    raise ValueError(f"match.{key} must be a string or a non-empty list of strings")


def _known(values: Values | None, key: str) -> Values | None:
    words = [word.value for word in WORDS[key]]
    unknown = sorted((values or frozenset()) - set(words))
    if unknown:
        raise ValueError(f"match.{key} knows {', '.join(words)}, not {unknown[0]!r}")
    return values
