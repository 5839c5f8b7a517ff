"""What the acts wait for, and what they ask of what they saw. Pure."""

from collections.abc import Callable

from examples.demo.cast import IN_CHARGE
from examples.demo.lookout import Sight
from examples.demo.receiver import Message


def settled(sight: Sight) -> bool:
    """Whether every adapter is stable by its live signals and its probe is registered."""
    return all(
        seen.state.verdict == "stable"
        and seen.state.verdict_of("logit_ks") == "stable"
        and seen.state.verdict_of("input_similarity") == "stable"
        and seen.state.verdict_of("perplexity") == "stable"
        for seen in sight.adapters.values()
    )


def told(subject: str) -> Callable[[Sight], bool]:
    """Whether on-call has been told anything about ``adapter@version``."""
    return lambda sight: bool(sight.about(subject))


def paged(subject: str) -> Callable[[Sight], bool]:
    """Whether on-call has been paged for ``adapter@version``."""
    return lambda sight: bool(pages(sight.about(subject)))


def recovered(subject: str) -> Callable[[Sight], bool]:
    """Whether the newest message about ``adapter@version`` says that it recovered."""
    return lambda sight: [m.status for m in sight.about(subject)][-1:] == ["recovered"]


def quiet(adapter: str) -> Callable[[Sight], bool]:
    """Whether an adapter is stable, its inputs too."""
    return lambda sight: (
        sight.adapters[adapter].state.verdict == "stable"
        and sight.adapters[adapter].state.verdict_of("input_similarity") == "stable"
    )


def answered_by(adapter: str, version: str) -> Callable[[Sight], bool]:
    """Whether a version alone gave the answers of the last seconds."""
    return lambda sight: sight.adapters[adapter].only == version


def critical(adapter: str, *detectors: str) -> Callable[[Sight], bool]:
    """Whether each of these detectors finds the version in charge critical."""
    return lambda sight: all(
        sight.adapters[adapter].state.verdict_of(name) == "critical" for name in detectors
    )


def blamed(adapter: str, blame: str) -> Callable[[Sight], bool]:
    """Whether this is blamed for what the version in charge does."""
    return lambda sight: sight.adapters[adapter].state.blame == blame


def drifting(adapter: str, detector: str) -> Callable[[Sight], bool]:
    """Whether the version in charge drifts, and this detector finds so."""
    return lambda sight: (
        sight.adapters[adapter].state.verdict == "drifting"
        and sight.adapters[adapter].state.verdict_of(detector) == "drifting"
    )


def measured(adapter: str) -> Callable[[Sight], bool]:
    """Whether no suspicion waits for a probe."""
    return lambda sight: (
        sight.adapters[adapter].state.verdict_of("perplexity") not in {"none", "unmeasured"}
    )


def canary_over(number: int) -> Callable[[Sight], bool]:
    """Whether a canary has been decided."""
    return lambda sight: any(one.canary == number and one.over for one in sight.canaries)


def every(*signs: Callable[[Sight], bool]) -> Callable[[Sight], bool]:
    """Whether all of these hold at one moment."""
    return lambda sight: all(sign(sight) for sign in signs)


def pages(messages: list[Message]) -> list[Message]:
    """Keep the messages that woke somebody: neither what more is known of a page, nor its end."""
    quiet = {"updated", "recovered"}
    return [m for m in messages if m.severity == "page" and m.status not in quiet]


def unsettled(sight: Sight, *, besides: str) -> dict[str, str]:
    """Verdicts of the other adapters that are not stable."""
    return {
        name: sight.adapters[name].state.verdict
        for name in IN_CHARGE
        if name != besides and sight.adapters[name].state.verdict != "stable"
    }
