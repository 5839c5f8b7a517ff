"""Identify the weights that answer under an adapter's name, from fixed documents.

An engine that forgets an adapter, or loads a neighbour's or a damaged file, still answers, and its
ordinary answers do not show it. The same fixed documents do: unchanged weights are deterministic up
to kernel noise, so *equal within the noise* means *the same weights*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np

from detectors.parity import LOWEST, Parity
from detectors.perplexity import CHANGED_FLOORS, DocumentScores, brought_to_length
from detectors.types import Flags, Floats

BASE: Final = ""
"""The base model's key among the parities; no served model has an empty name."""
FEWEST_DOCUMENTS: Final = 5
"""Models that differ by tenths of a nat agree on one document by chance, not on five."""
FAR: Final = 2.0
"""Ratio of gaps beyond which weights are wrong. The gap is a difference against the base in
the same engine, so an upgrade or a quantisation moves both sides; half precision moved it
by 2 %. Noise as large as the weights, and a threefold alpha, moved it by 3 to 26."""
GAP_FLOORS: Final = 10.0
"""A small gap may double by noise alone, so it must also move by this many noise floors."""
OTHER_MODEL: Final = 0.05
"""Nats per token that a version's expectations may diverge from those at registration. Half
precision and rounding to 8 bits diverge by .0002, to 4 bits by .04, a next version by .47."""
SURELY_APART: Final = 2.0
"""Two models whose documents lay this many lines of rounding apart, on the mean, differ."""
HIGHEST_FLOOR: Final = 0.05
"""Unchanged weights that move further than this between two readings were not read alone:
half precision moved a document by .007. Nothing can be called equal beside such noise."""


_NO_FLOORS: Final[Mapping[str, float]] = MappingProxyType({})


class IdentityState(StrEnum):
    """The weights that answer under an adapter's name."""

    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    MIXED_UP = "mixed_up"
    WRONG_WEIGHTS = "wrong_weights"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The answer to "is this adapter applied?", with its numbers.

    sibling
        The adapter whose weights these seem to be, if ``mixed_up``.
    kl
        Mean nats per token, adapter against base; None if not measured.
    nll_difference
        Mean nats per token, adapter minus base; negative if the adapter finds the documents easier.
        None without a base.
    gap
        Mean over documents of ``|adapter - base|``, nats per token: stored at registration. None
        without a base.
    reason
        The numbers behind the state, in words. It names no sibling: not everybody who reads it may
        see that one.
    contradictory
        True if the readings say both that the base answers and that it does not: one of them is
        wrong, so neither counts. Read again.
    """

    state: IdentityState
    sibling: str | None
    kl: float | None
    nll_difference: float | None
    gap: float | None
    reason: str
    contradictory: bool = False


def identify(
    own: DocumentScores,
    *,
    base: DocumentScores | None,
    siblings: Mapping[str, DocumentScores],
    floor: float,
    registered_gap: float | None,
    parity: Mapping[str, Parity],
    sibling_floors: Mapping[str, float] = _NO_FLOORS,
    since_registration: Parity | None = None,
    roundings: Mapping[str, float] = _NO_FLOORS,
) -> Identity:
    """Identify the weights that answer under an adapter's name.

    *Not applied*: no document's mean NLL is further from the base's than 4 noise floors,
    and the divergence, where measured, is within one. *Mixed up*: the same against a
    sibling. Beside other requests rounding moves documents further than that, so the nearest of
    the models with a rounding also counts where no document is further than 4 of it, and their
    mean within one. *Wrong weights*: the gap to the base is more than twice its registered value,
    or less than half of it, and 10 floors away; or what the adapter expects at each token
    diverges by .05 nats from what it expected at registration.

    The line of the divergence: noise of variance v in the logprobs costs about v / 2, and
    a document of N tokens averages it to v / N. If the largest of some hundred documents,
    3 deviations out, is the floor f, the divergence of unchanged weights is about
    ``N f² / 18``: below f for every f < .06 at 300 tokens. Measured, float32 against
    bfloat16: f = .007, divergence .0002; adapters against their base: .1 to 1.

    Documents that the base read beside other requests are left out where 5 others are
    left. Where not, nearness to the base is not believed: an engine that lends its base an
    adapter's weights makes the two alike. Distance is, though another adapter's weights
    would make it; else an engine that is never idle could tell nothing.

    A damage that keeps the gap (a lost order of ranks, a missing layer: ratios .4 to 1.8)
    is told by that divergence, which needs no base: of the same texts, read twice by one
    version. It is a lower bound, so it never says more than there is.

    Parameters
    ----------
    own, base, siblings
        One run each over the same documents in the same order.
    floor
        Largest move of a document between repeats of unchanged weights, nats per token
        (:func:`detectors.perplexity.noise_floor`); it covers the engine's precision.
    registered_gap
        :attr:`Identity.gap` when the version was registered, over the same documents.
    parity
        The adapter's :class:`Parity` against others by name; the base's under
        :data:`BASE`. Any of them may be missing.
    sibling_floors
        The floors of siblings by name: if theirs are the weights that answer, the noise is theirs.
    roundings
        :func:`rounding_against` siblings by name, and the base under :data:`BASE`, where there is
        one.
    since_registration
        The :class:`Parity` of the version at registration against the version now. Give it
        only where the base has not moved: an engine that moved everything is no fault of
        the weights.

    Returns
    -------
    Identity
        ``unknown`` with fewer than 5 documents in common with the base, unless a sibling is
        met or the version diverges from itself, where the floor is above .05, where a nearness
        to the base was read beside other requests, and where documents and divergence
        contradict each other. A registered gap within 4 floors came of such a reading, before
        it was told: it is not believed.
    """
    to_base = _against("the base", own, base, parity.get(BASE))
    if floor > HIGHEST_FLOOR:
        reason = (
            f"unchanged weights moved by {floor:.2g} nats per token between two readings"
            f" (line {HIGHEST_FLOOR:g}): other requests are mixed into the engine's answers"
        )
        return _identity(IdentityState.UNKNOWN, to_base, reason)
    if (against := to_base.contradiction(floor)) is not None:
        return replace(_identity(IdentityState.UNKNOWN, to_base, against), contradictory=True)
    if to_base.same(floor):
        said = to_base.said(floor)
        if to_base.lent is not None:
            return _identity(IdentityState.UNKNOWN, to_base, f"{said}; {to_base.lent}")
        return _identity(IdentityState.NOT_APPLIED, to_base, f"not applied: {said}")
    others = {
        name: _against("another adapter", own, theirs, parity.get(name))
        for name, theirs in siblings.items()
    }
    met = _met(others, floor=floor, floors=sibling_floors)
    met = met or _met_within({BASE: to_base} | others, roundings, floor=floor)
    if met is not None:
        return _of_another(to_base, *met)
    believed = registered_gap is not None and registered_gap > CHANGED_FLOORS * floor
    registered = registered_gap if believed else None
    return _alone(to_base, since_registration, floor=floor, registered=registered)


def near_base(
    own: DocumentScores, base: DocumentScores | None, *, floor: float, rounding: float | None = None
) -> bool:
    """Say whether :func:`identify` needs the divergence from the base, too.

    The divergence decides nothing where a document tells the two apart, or too few are in common.
    """
    against = _against("the base", own, base, None)
    return against.near(floor) or (rounding is not None and against.rounded(rounding))


def rounding_against(rounding: float, *, registered: float | None) -> float | None:
    """Return by how much rounding may part an adapter from another model that answers for it.

    None where that would prove nothing: the two were no further apart at registration than twice
    what rounding may move, or nobody knows how far.

    ``rounding`` is :func:`detectors.perplexity.rounding_floor`, and ``registered`` the mean of the
    documents' distances then, brought to length.

    >>> rounding_against(0.005, registered=0.3), rounding_against(0.005, registered=0.03)
    (0.005, None)
    """
    apart = registered is not None and registered > SURELY_APART * CHANGED_FLOORS * rounding
    return rounding if apart else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Against:
    """One other model: ``(D,)`` moves of the documents against it, nats per token.

    ``moves`` are as they are, ``brought`` as of documents of 100 tokens at least. ``lent`` says
    why nearness to it proves nothing; None if it does prove something.
    """

    name: str
    moves: Floats
    brought: Floats
    kl: float | None
    lent: str | None = None

    @property
    def enough(self) -> bool:
        return self.moves.size >= FEWEST_DOCUMENTS

    @property
    def gap(self) -> float:
        return float(np.abs(self.moves).mean())

    @property
    def largest(self) -> float:
        return float(np.abs(self.brought).max())

    def near(self, floor: float) -> bool:
        return self.enough and self.largest <= CHANGED_FLOORS * floor

    def rounded(self, rounding: float) -> bool:
        """Whether rounding may be all that parts the two."""
        return self.near(rounding) and float(np.abs(self.brought).mean()) <= rounding

    def same(self, floor: float) -> bool:
        return self.near(floor) and (self.kl is None or self.kl <= floor)

    def contradiction(self, floor: float) -> str | None:
        """Say why documents and divergence cannot both be true; None if they can."""
        if self.kl is None or not self.near(floor) or self.kl <= floor:
            return None
        return (
            f"a fault of the measurement: {self.moves.size} documents say that {self.name}"
            f" answers (largest difference {self.largest:.2g} nats per token, line"
            f" {CHANGED_FLOORS * floor:.2g}), the divergence over prompts that it does not (KL"
            f" {self.kl:.2g}, line {floor:.2g}); both are to be read again"
        )

    def said(self, floor: float) -> str:
        divergence = "" if self.kl is None else f", KL {self.kl:.2g} (line {floor:.2g})"
        return (
            f"it answers as {self.name} does: {self.moves.size} documents, largest difference"
            f" {self.largest:.2g} nats per token (line {CHANGED_FLOORS * floor:.2g}){divergence}"
        )


def _against(
    name: str, own: DocumentScores, other: DocumentScores | None, parity: Parity | None
) -> _Against:
    kl = None if parity is None or np.isnan(parity.kl) else parity.kl
    if other is None:
        return _Against(name=name, moves=np.empty(0), brought=np.empty(0), kl=kl)
    moves, tokens, beside = _moves(own, other)
    lent = None
    if beside.any() and (alone := int((~beside).sum())) < FEWEST_DOCUMENTS:
        lent = (
            f"but an engine may lend its base an adapter's weights while it answers others too, and"
            f" {alone} of the texts were read alone, {FEWEST_DOCUMENTS} needed"
        )
    else:
        moves, tokens = moves[~beside], tokens[~beside]
    brought = brought_to_length(moves, tokens)
    return _Against(name=name, moves=moves, brought=brought, kl=kl, lent=lent)


def _moves(own: DocumentScores, other: DocumentScores) -> tuple[Floats, Floats, Flags]:
    """Return the documents' moves, their tokens, and which were read beside other requests."""
    mine, theirs = (np.minimum(run.sum_nll, -LOWEST * run.tokens) for run in (own, other))
    # different token counts mean another tokenizer, whose nats per token are incomparable
    both = ~np.isnan(mine) & ~np.isnan(theirs) & (own.tokens == other.tokens) & (own.tokens > 0)
    beside = np.zeros(both.size, dtype=np.bool_) if other.beside is None else other.beside
    tokens = own.tokens[both]
    return np.asarray((mine[both] - theirs[both]) / tokens), tokens, beside[both]


def _met(
    siblings: Mapping[str, _Against], *, floor: float, floors: Mapping[str, float]
) -> tuple[str, str] | None:
    """Return the first sibling that repeats do not tell from the adapter, and what to say of it."""
    for name, sibling in siblings.items():
        noise = max(floor, min(floors.get(name, 0.0), HIGHEST_FLOOR))
        if sibling.same(noise):
            return name, sibling.said(noise)
    return None


def _met_within(
    models: Mapping[str, _Against], roundings: Mapping[str, float], *, floor: float
) -> tuple[str, str] | None:
    """Return the nearest model that rounding may be all that parts, and what to say of it.

    A base that other requests may have lent an adapter is none.
    """
    near = {
        name: one
        for name, one in models.items()
        if name in roundings
        and one.lent is None
        and one.rounded(roundings[name])
        and (one.kl is None or one.kl <= floor)
    }
    if not near:
        return None
    name = min(near, key=lambda one: near[one].largest)
    return name, near[name].said(roundings[name])


def _of_another(to_base: _Against, name: str, said: str) -> Identity:
    if name == BASE:
        return _identity(IdentityState.NOT_APPLIED, to_base, f"not applied: {said}")
    reason = f"mixed up, unless both hold the same weights: {said}"
    return _identity(IdentityState.MIXED_UP, to_base, reason, sibling=name)


def _alone(
    to_base: _Against, itself: Parity | None, *, floor: float, registered: float | None
) -> Identity:
    if itself is not None and itself.kl > OTHER_MODEL:
        reason = (
            f"wrong weights: KL {itself.kl:.2g} nats per token from what was registered"
            f" (line {OTHER_MODEL:g}), over {itself.positions} tokens"
        )
        return _identity(IdentityState.WRONG_WEIGHTS, to_base, reason)
    if not to_base.enough:
        count = to_base.moves.size
        reason = f"{count} documents in common with the base, {FEWEST_DOCUMENTS} needed"
        return _identity(IdentityState.UNKNOWN, to_base, reason)
    gap = to_base.gap
    if registered is not None and _far(gap, registered, floor=floor):
        reason = (
            f"wrong weights: {gap:.3g} nats per token from the base, {registered:.3g} at"
            f" registration (line: {FAR:g} times either way, and {GAP_FLOORS * floor:.2g} apart)"
        )
        if to_base.lent is not None and gap < registered:
            return _identity(IdentityState.UNKNOWN, to_base, f"{reason}; {to_base.lent}")
        return _identity(IdentityState.WRONG_WEIGHTS, to_base, reason)
    known = "" if registered is None else f", {registered:.3g} at registration"
    reason = f"applied: {gap:.3g} nats per token from the base{known}"
    return _identity(IdentityState.APPLIED, to_base, reason)


def _far(gap: float, registered: float, *, floor: float) -> bool:
    low, high = sorted((gap, registered))
    return high > FAR * low and high - low > GAP_FLOORS * floor


def _identity(
    state: IdentityState, to_base: _Against, reason: str, *, sibling: str | None = None
) -> Identity:
    return Identity(
        state=state,
        sibling=sibling,
        kl=to_base.kl,
        nll_difference=float(to_base.moves.mean()) if to_base.enough else None,
        gap=to_base.gap if to_base.enough else None,
        reason=reason,
    )
