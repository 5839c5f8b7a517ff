"""Match names of modules with the patterns of an adapter's config.

peft treats these patterns as regular expressions. They come from an untrusted file, so RE2 matches
them, in time linear in the name: no pattern can hang us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import re2

from monitor.probes.weights.errors import WeightsRefused, unsupported

ALL_LINEAR: Final = "all-linear"
LONGEST_PATTERN: Final = 2048
_PLAIN: Final = re.compile(r"[\w.-]+")
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


def first_match(patterns: Iterable[str] | None, module: str) -> str | None:
    r"""Return the first pattern that names the module, as peft looks up ranks and alphas.

    >>> print(first_match(["k_proj", r"layers\.[0-3]\.q_proj"], "model.layers.2.q_proj"))
    layers\.[0-3]\.q_proj
    >>> first_match(["proj"], "model.layers.2.q_proj")

    Raises
    ------
    WeightsRefused
        RE2 does not support a pattern (it has no lookaround), or it is too long.
    """
    for pattern in patterns or ():
        plain = _PLAIN.fullmatch(pattern)
        if is_named(pattern, module) if plain else _matches(f"(.*\\.)?({pattern})", module):
            return pattern
    return None


def is_named(target: str, module: str) -> bool:
    """True if a plain target names the module: all of its path, or the end of it."""
    return module == target or module.endswith(f".{target}")


def is_target(targets: Sequence[str] | str, module: str) -> bool | None:
    """True if the config adapts the module; None if that cannot be told."""
    if not isinstance(targets, str):
        return any(is_named(target, module) for target in targets)
    if targets == ALL_LINEAR:
        return None
    try:
        return _matches(targets, module)
    except WeightsRefused:
        return None


def _matches(pattern: str, module: str) -> bool:
    if len(pattern) > LONGEST_PATTERN:
        raise unsupported(f"a pattern of the config has {len(pattern):,} characters")
    try:
        return re2.compile(pattern, options=_QUIET).fullmatch(module) is not None
    except re2.error:
        raise unsupported(f"RE2 does not know the config's pattern {pattern[:80]!r}") from None
