"""The versions to which an adapter's traffic may fall back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType

from alerts.types import VerdictKind
from monitor.domain import ArmKind, Route, Version

UNHEALTHY = frozenset({VerdictKind.DRIFTING, VerdictKind.CRITICAL})
NO_TARGET = UNHEALTHY | {VerdictKind.BLIND}
"""Verdicts that rule a target out; a blind version may be no better than the failing one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Versions to try in this order, and the reasons why others were left out."""

    usable: tuple[Version, ...] = ()
    refused: tuple[str, ...] = ()


def choose_targets(
    failing: Version,
    *,
    registered: Sequence[Version],
    history: Sequence[Route],
    verdicts: Mapping[str, VerdictKind],
    abandoned: AbstractSet[str],
    latched: AbstractSet[str] = frozenset(),
    barred: Mapping[str, str] = MappingProxyType({}),
) -> Targets:
    """List previous versions: the parent first, those in charge before, the base model last.

    The base is a target as a registered version that is served under its name.

    Parameters
    ----------
    registered
        The adapter's versions.
    history
        Its routes, newest first.
    verdicts
        Verdicts in force by version; a version without traffic may have none.
    abandoned
        Versions whose traffic was moved away and has not returned: never a target, or two
        bad versions would hand the traffic to each other.
    latched
        Versions that were rolled back as a canary, until a person clears them.
    barred
        Why versions may get no traffic, by name: they were not admitted.
    """
    by_name = {version.name: version for version in registered}
    usable, refused = [], []
    for name in dict.fromkeys((*_previous(failing, history), *_base(failing, registered))):
        if name in latched:
            refused.append(f"{name} was rolled back as a canary")
            continue
        why_not = _why_not(name, by_name, verdicts=verdicts, abandoned=abandoned)
        why_not = why_not or barred.get(name)
        if why_not is None:
            usable.append(by_name[name])
        else:
            refused.append(f"{name} {why_not}")
    return Targets(usable=tuple(usable), refused=tuple(refused))


def _previous(failing: Version, history: Sequence[Route]) -> list[str]:
    in_charge = [
        arm.version
        for route in history
        for arm in route.arms
        if arm.arm is ArmKind.STABLE and arm.weight > 0
    ]
    names = [*([failing.parent] if failing.parent else []), *in_charge]
    return [name for name in dict.fromkeys(names) if name != failing.name]


def _base(failing: Version, registered: Sequence[Version]) -> list[str]:
    """List the names of the versions that are the failing version's bare base model."""
    if failing.base_model is None:
        return []
    return [
        version.name
        for version in registered
        if version.model == failing.base_model and version.name != failing.name
    ]


def _why_not(
    name: str,
    registered: Mapping[str, Version],
    *,
    verdicts: Mapping[str, VerdictKind],
    abandoned: AbstractSet[str],
) -> str | None:
    if name not in registered:
        return "is not registered"
    if name in abandoned:
        return "was itself moved away from"
    verdict = verdicts.get(name)
    return f"is {verdict.value}" if verdict in NO_TARGET else None
