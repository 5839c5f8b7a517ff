"""`perplexity`: the model itself on a fixed corpus, run after run.

Scoring unchanged weights again is deterministic up to kernel noise, so two questions can be asked
separately. *Changed*: has any document moved by more than noise? *Degraded*: is the corpus as a
whole harder by 5 %? No correction for repeated looks is needed: the documents are the same each
time, so a run that is fine stays fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Final

import numpy as np
import scipy

from detectors.profile import Phrases, Profile
from detectors.textbook import Threshold
from detectors.types import Flags, Floats, Score

PERPLEXITY: Final = "perplexity"
"""The name under which the probe's scores stand beside those of detectors."""

SMALLEST_FLOOR = 1e-3
CHANGED_FLOORS = 4.0
ROUNDING = MappingProxyType({"float32": SMALLEST_FLOOR, "float16": 2e-3, "bfloat16": 5e-3})
COARSEST = max(ROUNDING.values())
FULL_LENGTH = 100.0
"""Tokens from which on a document's mean is held to the floor itself."""
MARGIN = 0.05
_WORST_NATS = 30.0
"""A token of probability 0 counts as this many nats."""

PROFILE: Final = Profile(
    rank=0,
    words=Phrases(
        "perplexity of fixed texts",
        "fixed texts are harder for it",
        "fixed texts are easier for it",
        "it reads fixed texts differently",
    ),
    findings=MappingProxyType(
        {
            "forgetting": Phrases(
                "perplexity of general text",
                "the adapter forgets: general text is harder for it, its own domain is not",
                "general text is easier for the adapter",
                "the adapter does otherwise on general text",
            ),
            "not_applied": Phrases.of(
                "which weights answer", "the adapter is not applied: its base model answers"
            ),
            "mixed_up": Phrases.of(
                "which weights answer", "another adapter answers under its name"
            ),
            "wrong_weights": Phrases.of(
                "which weights answer", "other weights than the registered ones answer"
            ),
        }
    ),
    threshold=Threshold(what="perplexity's mean of 7 days", limit=0.05, above=True),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DocumentScores:
    """One run over the corpus, per document ``(D,)`` in the corpus's order.

    ``sum_nll`` in nats over the target tokens, NaN where a document was not scored;
    ``tokens`` and ``size_bytes`` of the scored text. ``beside`` marks documents of a base
    model that were read while its engine had other requests, which may have lent the base
    an adapter's weights; None: there are none.
    """

    sum_nll: Floats
    tokens: Floats
    size_bytes: Floats
    beside: Flags | None = None

    def replaced(self, other: DocumentScores, *, where: Flags) -> DocumentScores:
        """Return these scores with those of another run of the same documents in some places."""
        mine, theirs = (
            np.zeros(where.size, dtype=np.bool_) if run.beside is None else run.beside
            for run in (self, other)
        )
        return DocumentScores(
            sum_nll=np.where(where, other.sum_nll, self.sum_nll),
            tokens=np.where(where, other.tokens, self.tokens),
            size_bytes=np.where(where, other.size_bytes, self.size_bytes),
            beside=np.where(where, theirs, mine),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityChange:
    """The result of comparing one run with the reference runs.

    changed
        True if some document, or the corpus as one, moved by more than 4 noise floors, its token
        count changed, or every reference run scored it and this one could not (a shortened
        context, NaN). Confirm with a second run before reporting it.
    degraded
        True if the corpus is harder by 5 %: by the interval's lower end, or by the estimate for the
        second time with a lower end above 0.
    effect, interval
        Perplexity ratio - 1 and its 95 % interval; NaN without a document in common.
    largest_move, noise_floor
        Nats per token, as of a document of 100: see :func:`brought_to_length`.
    documents, unscored, n_effective
        Documents compared, in the reference but not in this run, and ``1 / sum w^2``.
    perplexity, bits_per_byte, reference_...
        Of this run and the reference on the documents compared, aggregated by tokens and
        bytes. Compare languages by bits per byte only.
    reasons
        The numbers behind both answers, in words.
    """

    changed: bool
    degraded: bool
    effect: float
    interval: tuple[float, float]
    largest_move: float
    noise_floor: float
    documents: int
    unscored: int
    n_effective: float
    perplexity: float
    bits_per_byte: float
    reference_perplexity: float
    reference_bits_per_byte: float
    reasons: tuple[str, ...]

    @property
    def above_margin(self) -> bool:
        """True if this run alone half supports "degraded": +5 % with lower end > 0."""
        return self.effect >= MARGIN and self.interval[0] > 0.0


def brought_to_length(moves: Floats, tokens: Floats) -> Floats:
    """Return moves of documents' means, nats per token, as if each had 100 tokens at least.

    The errors of tokens hardly go together, so the mean of n of them moves by 1/√n. Measured on
    one model in bfloat16: .0133 over 90 to 129 tokens, .0279 over 16 to 29. Longer documents keep
    their move.

    >>> brought_to_length(np.array([0.02, 0.02, 0.02]), np.array([25.0, 100.0, 400.0]))
    array([0.01, 0.02, 0.02])
    """
    return moves * np.sqrt(np.minimum(1.0, tokens / FULL_LENGTH))


def noise_floor(runs: Sequence[DocumentScores]) -> float:
    """Return the largest move of any document between repeats of unchanged weights.

    In nats per token, as of a document of 100. Take 3 to 5 repeats at registration; never below
    .001, which one repeat also gives.
    """
    moves = [
        brought_to_length(np.abs(_usable(a) - _usable(b)) / a.tokens, a.tokens)
        for a, b in combinations(runs, 2)
    ]
    return max([SMALLEST_FLOOR, *(float(np.nanmax(m)) for m in moves if not np.isnan(m).all())])


def rounding_floor(dtype: str | None) -> float:
    """Return how far rounding alone moves a document of 100 tokens, nats per token.

    Repeats do not show it: they round alike. Saving an adapter again in float16 changes last
    bits of what the engine works with, and so does another build of its kernels. Largest
    move of 60 documents of 90 to 129 tokens: saved in the other half precision, .0011 in a
    float32 engine, .0022 in float16 and .0071 in bfloat16 (.0133 on a model of 135M
    parameters); 4 floors are above it. Rounding the weights to 8 bits moves .009 in bfloat16
    and stays below, as it should; 4 bits .07, a layer of zeros .4, lost ranks .9, noise 1.3.

    An engine that does not tell its arithmetic is taken for bfloat16.

    >>> rounding_floor("float32"), rounding_floor(None)
    (0.001, 0.005)
    """
    return ROUNDING.get((dtype or "").removeprefix("torch."), COARSEST)


def compare(
    reference: Sequence[DocumentScores],
    current: DocumentScores,
    *,
    previous: PerplexityChange | None = None,
    least_floor: float = SMALLEST_FLOOR,
) -> PerplexityChange:
    """Compare a run with the reference runs of the same documents.

    With tokens of the reference as weights w and d the change of mean NLL of a document,
    the ratio of perplexities is ``exp(sum w d)``; its interval takes the linearised
    variance ``n/(n-1) sum w² (d - d̄)²`` and t on ``1/sum w² - 1`` degrees. Pairing is
    what makes it sharp: half width 3.1 % with 20 documents and 1.1 % with 200, against
    34 % and 12 % unpaired; coverage 94 to 95 % for 10 to 500 documents.

    Parameters
    ----------
    reference
        At least one run; the comparison uses the mean of the repeats.
    previous
        An independent earlier run, for "+5 % twice": the last scheduled one, never the one that
        this run confirms.
    least_floor
        The smallest credible noise floor in nats per token: one run of a base model has no repeats,
        and is as noisy as its adapters.
    """
    then = np.mean([_usable(run) for run in reference], axis=0)
    now = _usable(current)
    both = ~np.isnan(then) & ~np.isnan(now)
    tokens = reference[0].tokens[both]
    floor = max(noise_floor(reference), least_floor)
    moved = (now[both] - then[both]) / tokens
    largest = _largest(moved, tokens)
    retokenised = int((current.tokens[both] != tokens).sum())
    unscored = int((~np.isnan(then) & np.isnan(now)).sum())
    effect, interval, n_effective = _ratio(moved, tokens)
    lower = interval[0] >= MARGIN
    twice = previous is not None and previous.above_margin
    twice = twice and effect >= MARGIN and interval[0] > 0.0
    bytes_ = reference[0].size_bytes[both]
    return PerplexityChange(
        changed=largest > CHANGED_FLOORS * floor or retokenised > 0 or unscored > 0,
        degraded=lower or twice,
        effect=effect,
        interval=interval,
        largest_move=largest,
        noise_floor=floor,
        documents=int(both.sum()),
        unscored=unscored,
        n_effective=n_effective,
        perplexity=_perplexity(now[both], current.tokens[both]),
        bits_per_byte=_bits_per_byte(now[both], bytes_),
        reference_perplexity=_perplexity(then[both], tokens),
        reference_bits_per_byte=_bits_per_byte(then[both], bytes_),
        reasons=(
            _changed_reason(largest, floor, retokenised, unscored),
            _degraded_reason(effect, interval, twice=twice),
        ),
    )


def as_score(change: PerplexityChange) -> Score:
    """Convert a comparison to the form of all scores.

    There is no process behind it. The notice evidence is log10 of the largest move over 4
    noise floors, the page evidence log10 of the lower end over 5 %: 0 is the line in
    both, as everywhere.
    """
    low, high = change.interval
    half = (high - low) / 2.0
    return Score(
        value=change.effect,
        evidence_notice=_log10(change.largest_move / (CHANGED_FLOORS * change.noise_floor))
        if change.largest_move > CHANGED_FLOORS * change.noise_floor or not change.changed
        else 0.0,
        evidence_page=max(_log10(low / MARGIN), 0.0) if change.degraded else _below(low),
        effect=change.effect,
        interval=change.interval,
        n_reference=change.documents + change.unscored,
        n_window=change.documents,
        minimum_detectable=max(half, float(np.expm1(CHANGED_FLOORS * change.noise_floor)))
        if change.documents
        else np.inf,
        winner="perplexity:ratio" if change.changed or change.degraded else None,
        details={
            "changed": change.changed,
            "degraded": change.degraded,
            "largest_move": change.largest_move,
            "noise_floor": change.noise_floor,
            "documents": change.documents,
            "unscored": change.unscored,
            "perplexity": change.perplexity,
            "reference_perplexity": change.reference_perplexity,
            "bits_per_byte": change.bits_per_byte,
            "reference_bits_per_byte": change.reference_bits_per_byte,
            "reasons": list(change.reasons),
        },
    )


def _largest(moved: Floats, tokens: Floats) -> float:
    """Return the largest move of a document, or of the corpus as one, brought to length."""
    if moved.size == 0:
        return 0.0
    together = np.array([tokens @ moved / tokens.sum()]), np.array([tokens.sum()])
    each = np.abs(brought_to_length(moved, tokens)).max()
    return float(max(each, np.abs(brought_to_length(*together)).max()))


def _usable(run: DocumentScores) -> Floats:
    return np.minimum(run.sum_nll, _WORST_NATS * run.tokens)


def _ratio(moved: Floats, tokens: Floats) -> tuple[float, tuple[float, float], float]:
    if moved.size == 0:
        return np.nan, (np.nan, np.nan), 0.0
    weights = tokens / tokens.sum()
    centre = float(weights @ moved)
    n_effective = 1.0 / float(np.square(weights).sum())
    if moved.size == 1:
        return float(np.expm1(centre)), (-1.0, np.inf), 1.0
    spread = np.square(weights * (moved - centre)).sum() * moved.size / (moved.size - 1)
    # one huge document leaves less than one degree: the interval must then say "unknown"
    half = float(scipy.special.stdtrit(max(n_effective - 1.0, 0.1), 0.975) * np.sqrt(spread))
    interval = (float(np.expm1(centre - half)), float(np.expm1(min(centre + half, 700.0))))
    return float(np.expm1(centre)), interval, n_effective


def _perplexity(sum_nll: Floats, tokens: Floats) -> float:
    return float(np.exp(sum_nll.sum() / tokens.sum())) if tokens.size else np.nan


def _bits_per_byte(sum_nll: Floats, size_bytes: Floats) -> float:
    return float(sum_nll.sum() / np.log(2.0) / size_bytes.sum()) if size_bytes.size else np.nan


def _changed_reason(largest: float, floor: float, retokenised: int, unscored: int) -> str:
    sign = ">" if largest > CHANGED_FLOORS * floor else "<="
    said = [f"largest move {largest:.4f} {sign} {CHANGED_FLOORS * floor:.4f} nats per token"]
    if retokenised:
        said.append(f"{retokenised} documents have another token count")
    if unscored:
        said.append(f"{unscored} documents that were registered cannot be scored now")
    return "; ".join(said)


def _degraded_reason(effect: float, interval: tuple[float, float], *, twice: bool) -> str:
    low, high = interval
    said = f"perplexity {effect:+.1%} (95 % interval {low:+.1%} to {high:+.1%}), line +5 %"
    return f"{said}, for the second time" if twice else said


def _below(low: float) -> float:
    return min(_log10(low / MARGIN), np.nextafter(0.0, -1.0)) if low > 0.0 else -np.inf


def _log10(ratio: float) -> float:
    return float(np.log10(ratio)) if ratio > 0.0 else -np.inf
