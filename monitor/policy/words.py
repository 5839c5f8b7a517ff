"""Verdicts in words, always with the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from detectors.perplexity import PERPLEXITY
from detectors.types import Process
from detectors.words import plain_words
from monitor.policy.blame import explained_by_inputs
from monitor.policy.common_cause import BaseStanding
from monitor.policy.coverage import Blindness, Cause, Why
from monitor.policy.facts import Facts, ReferenceStage
from monitor.policy.memory import Crossing, Memory
from monitor.policy.probed import PerplexityMemory
from monitor.policy.settings import PolicySettings


def crossing_words(crossing: Crossing) -> str:
    """Say what changed, in how many requests and how far, and what it is sure enough for."""
    effect = ""
    if crossing.effect is not None and crossing.effect_low is not None:
        effect = f"effect {crossing.effect:+.2f} (at least {crossing.effect_low:+.2f}), "
    return (
        f"{plain_words(crossing.detector, crossing.winner)}, sure enough for a"
        f" {_SURE_FOR[crossing.process]}: {_counted_words(crossing)}, {effect}"
        f"evidence {crossing.evidence:.1f} beyond its alert threshold"
    )


_SURE_FOR: Final = {Process.NOTICE: "ticket", Process.PAGE: "page"}


def _counted_words(crossing: Crossing) -> str:
    """Say how many requests a crossing rests on, and how many users where these are fewer."""
    if crossing.counted == crossing.n:
        return f"{crossing.n:,} requests"
    return (
        f"{crossing.records:,} requests of {crossing.n:,} subject{'' if crossing.n == 1 else 's'}"
    )


def probe_words(memory: Memory) -> list[str]:
    """Describe the open findings of the probes."""
    found = []
    if memory.identity is not None and memory.identity.wrong:
        found.append(memory.identity.reason)
    probe = memory.perplexity
    if probe is not None and probe.moved:
        found.append(f"{_finding_word(probe)}: {probe.reason}{_replaced_words(probe)}")
    return found


def _finding_word(probe: PerplexityMemory) -> str:
    if probe.degraded:
        return "perplexity degraded"
    return "forgetting" if probe.forgotten else "perplexity changed"


def _replaced_words(probe: PerplexityMemory) -> str:
    if not probe.replaced:
        return ""
    return (
        f" (found on corpus {probe.corpus}, whose texts have been replaced since: it stays open"
        " until they are put back or a declared change registers the version anew)"
    )


def detector_reason(memory: Memory, detector: str) -> str:
    """Describe one detector's part in the verdict, with its numbers."""
    own = [crossing_words(c) for c in memory.crossings if c.detector == detector]
    return join([*own, *(probe_words(memory) if detector == PERPLEXITY else ())])


def why_not_page(memory: Memory, facts: Facts) -> str:
    """Say why a page crossing has not paged, after a semicolon; empty where none waits."""
    waiting = [c for c in memory.crossings if c.process is Process.PAGE and not c.paged]
    if any(c.hard and c.alone for c in waiting):
        return "; no page: one subject's requests alone, while others' went well"
    soft = [c for c in memory.crossings if c.process is Process.PAGE and not c.hard and not c.paged]
    if not soft:
        return ""
    if facts.reference is ReferenceStage.REPLACED:
        return "; no page: the reference is being replaced"
    probe = memory.perplexity
    if probe is not None and probe.at > soft[0].at:
        return "; no page: the model's own probe is unchanged and its inputs moved"
    if explained_by_inputs(memory):
        return "; no page: its inputs moved as well, and no probe says that the model did"
    return "; the page waits for the perplexity probe"


def unmeasured_words(memory: Memory, facts: Facts) -> str:
    """Say since when perplexity is unknown, after a semicolon; empty where it is known."""
    since = memory.unmeasured_since
    if since is None or not facts.probe_available:
        return ""
    return f"; perplexity {unmeasured(since, facts.probe_stopped)}"


def unmeasured(since: datetime, stopped: str | None) -> str:
    """Say since when something is not measured, and why.

    >>> unmeasured(datetime(2026, 11, 25, 12, 4), None)
    'unmeasured since 12:04 UTC'
    """
    because = f": {stopped}" if stopped else ""
    return f"unmeasured since {since:%H:%M} UTC{because}"


def blind_words(blind: Blindness) -> str:
    """Say which requests are not compared and why, in one sentence."""
    since = f", since {blind.since:%Y-%m-%d %H:%M} UTC" if blind.since else ""
    return (
        f"{blind.n:,} of the newest {blind.requests:,} requests {why_words(blind.why)}{since};"
        f" {', '.join(blind.detectors)} compared {blind.compared:,}"
    )


def why_words(why: Why) -> str:
    """Say why requests were not compared, to follow their number."""
    if why.cause is Cause.NO_REFERENCE and why.value:
        return f"are not compared: {why.value}"
    return _WHY[why.cause].format(why.value)


_WHY: Final[Mapping[Cause, str]] = {
    Cause.SETTINGS: "use {}, which the reference does not cover",
    Cause.NOT_MEASURED: "came without {}",
    Cause.NOT_EMBEDDED: "have texts that are not embedded yet",
    Cause.LATE: "came more than a day after they were made",
    Cause.IMPORTED: "were imported long after they were made",
    Cause.NO_ANSWER: "have no answer to look at",
    Cause.SKIPPED: "came while nothing was evaluated",
    Cause.FAILED: "could not be compared: the detector failed",
    Cause.NO_REFERENCE: "have no reference to be compared with",
}


def standing_words(standing: BaseStanding) -> str:
    """Describe a version's standing among the others on its base, after a semicolon."""
    if standing.apart is not None:
        return f"; {standing.apart}"
    if standing.shared:
        return f"; a common cause: {standing.common}"
    if standing.waits:
        return "; the page waits until others on its base have been looked at"
    return ""


def join(parts: Sequence[str]) -> str:
    """Put parts of one reason together."""
    return "; ".join(parts)


def large_words(crossing: Crossing, settings: PolicySettings) -> str:
    """Say why a crossing may move traffic."""
    change = plain_words(crossing.detector, crossing.winner)
    if crossing.hard:
        return f"{change}: {_counted_words(crossing)}"
    return (
        f"{change}: effect at least {crossing.effect_low or 0:.2f} (needs {crossing.margin:.2f}),"
        f" {crossing.n:,} requests (needs {settings.action_records})"
    )


def small_words(crossing: Crossing, settings: PolicySettings) -> str:
    """Say what a crossing lacks before it may move traffic."""
    change = plain_words(crossing.detector, crossing.winner)
    if not crossing.acts:
        return f"{change}: the reference of its settings is too young to act by"
    low = "unknown" if crossing.effect_low is None else f"{crossing.effect_low:.2f}"
    return (
        f"{change}: effect at least {low} (needs {crossing.margin:.2f}),"
        f" {crossing.n:,} requests (needs {settings.action_records})"
    )
