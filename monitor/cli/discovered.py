"""The findings of `discover`, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from monitor.cli import screen

if TYPE_CHECKING:
    from monitor.cli.applied import AdapterCheck, EngineCheck
    from monitor.cli.registering import Named

SHOWN_STATES = {
    "applied": ("applied", "green"),
    "not_applied": ("NOT APPLIED", "bold red"),
    "mixed_up": ("EQUAL TO {sibling}", "bold red"),
    "wrong_weights": ("WRONG WEIGHTS", "bold red"),
    "unknown": ("not known", "yellow"),
}


def show_plan(found: Sequence[Named], *, as_json: bool) -> None:
    """Print what would be registered."""
    if as_json:
        screen.as_json({"adapters": [_named(named) for named in found]})
        return
    screen.table(
        "adapters that would be registered",
        ["served as", "adapter", "version", "base", "root"],
        [
            [
                named.card.id,
                named.adapter,
                named.version,
                named.card.parent or "-",
                named.card.root or "-",
            ]
            for named in found
        ],
    )


def show(
    url: str,
    found: Sequence[Named],
    done: EngineCheck,
    *,
    registered: Mapping[str, str],
    hint: str | None,
    as_json: bool,
) -> None:
    """Print each adapter's verdict and, where it is not applied, why."""
    if as_json:
        adapters = [
            _named(named) | _checked(checked) | {"registered": registered.get(named.card.id)}
            for named, checked in zip(found, done.adapters, strict=True)
        ]
        body = {"engine": url, "floor": done.floor, "stopped": done.stopped, "serving": hint}
        screen.as_json(body | {"adapters": adapters})
        return
    screen.table(
        "is it applied?",
        ["served as", "base", "KL", "NLL difference", "same top token", "verdict"],
        [_row(checked) for checked in done.adapters],
    )
    for checked in done.adapters:
        identity = checked.identity
        if identity is not None and not checked.applied:
            other = f"; the other adapter: {identity.sibling}" if identity.sibling else ""
            screen.say(f"{checked.card.id}: {identity.reason}{other}")
    if done.stopped:
        screen.say(f"the engine was left alone {done.stopped}")
    if hint:
        screen.say(f"the config at hand does not list this engine; under [serving] put: {hint}")


def _row(checked: AdapterCheck) -> list[Any]:
    identity = checked.identity
    state = identity.state.value if identity else "unknown"
    words, style = SHOWN_STATES[state]
    sibling = identity.sibling if identity else None
    return [
        checked.card.id,
        checked.card.parent or "-",
        screen.number(identity.kl if identity else None, digits=4),
        screen.number(identity.nll_difference if identity else None, digits=4),
        "-" if checked.top1 is None else f"{checked.top1:.1%}",
        Text(screen.plain(words.format(sibling=sibling)), style=style),
    ]


def _named(named: Named) -> dict[str, Any]:
    return {
        "model": named.card.id,
        "adapter": named.adapter,
        "version": named.version,
        "base": named.card.parent,
        "root": named.card.root,
    }


def _checked(checked: AdapterCheck) -> dict[str, Any]:
    if checked.identity is None:
        return {"state": "unknown", "reason": "the engine was not asked to the end", "top1": None}
    return asdict(checked.identity) | {"top1": checked.top1}
