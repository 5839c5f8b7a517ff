"""Measure how far two models are apart at each token, over their whole vocabulary.

Like :mod:`detectors.parity`, which uses the likeliest tokens alone. It loads torch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from detectors.parity import LOWEST, NEGLIGIBLE, Parity

TOP: Final = 20
"""Likeliest tokens whose logprobs are compared, as many as serving would return."""


class Likeness:
    """Sums over the tokens of each of ``n`` texts; :meth:`parities` are their means."""

    def __init__(self, texts: int) -> None:
        self._positions = np.zeros(texts)
        self._sums = np.zeros((texts, 3))
        self._delta = np.zeros(texts)

    def add(
        self, p: torch.Tensor, q: torch.Tensor, *, tokens: torch.Tensor, texts: torch.Tensor
    ) -> None:
        """Count tokens ``(t,)`` of texts ``(t,)`` with two models' logprobs ``(t, v)``."""
        # as in a served comparison, one impossible token must not outweigh all others
        p, q = p.clamp(min=LOWEST), q.clamp(min=LOWEST)
        a, b = p.exp(), q.exp()
        # rounding leaves a little below 0 if both are equal
        kl = (a * (p - q) - a + b).sum(1).clamp(min=0.0)
        each = torch.stack([kl, _same_top(p, q), _cosine(a, b)], dim=1)
        owner = texts.cpu().numpy()
        np.add.at(self._positions, owner, 1.0)
        np.add.at(self._sums, owner, each.double().cpu().numpy())
        gap = _gap(p, q, tokens).double().cpu().numpy()
        with np.errstate(invalid="ignore"):  # NaN is an answer
            np.maximum.at(self._delta, owner, gap)

    def parities(self) -> tuple[Parity, ...]:
        """Return the means text by text; NaN for a text without any position."""
        known = self._positions > 0
        count = np.where(known, self._positions, np.nan)
        means, delta = self._sums / count[:, None], np.where(known, self._delta, np.nan)
        rows = zip(self._positions.tolist(), means.tolist(), delta.tolist(), strict=True)
        return tuple(
            Parity(positions=int(n), kl=kl, top1=top1, max_delta=gap, cosine=cosine, exact=True)
            for n, (kl, top1, cosine), gap in rows
        )


def _same_top(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """True where both models share a likeliest token; half precision often ties several."""
    best_p = p >= p.amax(1, keepdim=True) - NEGLIGIBLE
    best_q = q >= q.amax(1, keepdim=True) - NEGLIGIBLE
    return (best_p & best_q).any(1).float()


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    cosine: torch.Tensor = (a * b).sum(1) / lengths
    return cosine


def _gap(p: torch.Tensor, q: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the largest difference at each token: of itself and of both models' likeliest."""
    top = min(TOP, p.shape[1])
    least_p, least_q = p.topk(top, 1).values[:, -1:], q.topk(top, 1).values[:, -1:]
    named = (p >= least_p) & (q >= least_q)
    named.scatter_(1, tokens[:, None], value=True)
    return ((p - q).abs() * named).amax(1)
