"""How far two models are apart at each token, over their whole vocabulary. It loads torch.

As :mod:`detectors.parity` does it from the likeliest tokens alone.
"""

from __future__ import annotations

from typing import Final

import torch

from detectors.parity import LOWEST, NEGLIGIBLE, Parity

TOP: Final = 20
"""Likeliest tokens whose logprobs are compared, as many as serving would tell."""


class Likeness:
    """Sums over tokens; :meth:`parity` are their means."""

    def __init__(self) -> None:
        self._positions = 0
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._delta = 0.0

    def add(self, p: torch.Tensor, q: torch.Tensor, tokens: torch.Tensor) -> None:
        """Count tokens ``(t,)`` of the text with two models' logprobs ``(t, vocabulary)``."""
        # as in a served comparison one impossible token must not outweigh all others
        p, q = p.clamp(min=LOWEST), q.clamp(min=LOWEST)
        a, b = p.exp(), q.exp()
        each = ((a * (p - q) - a + b).sum(1), _same_top(p, q), _cosine(a, b))
        self._sums += torch.stack([values.double().sum().cpu() for values in each])
        # the sum that max() compares with would swallow NaN
        self._delta = float(torch.stack([torch.tensor(self._delta), _gap(p, q, tokens)]).max())
        self._positions += len(tokens)

    def parity(self) -> Parity:
        """Give the means; NaN without any position."""
        none = self._positions == 0
        means = self._sums / (torch.nan if none else self._positions)
        kl, top1, cosine = means.tolist()
        return Parity(
            positions=self._positions,
            kl=kl,
            top1=top1,
            max_delta=float("nan") if none else self._delta,
            cosine=cosine,
            exact=True,
        )


def _same_top(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Whether some token is the likeliest of both; half precision often ties several."""
    best_p = p >= p.amax(1, keepdim=True) - NEGLIGIBLE
    best_q = q >= q.amax(1, keepdim=True) - NEGLIGIBLE
    return (best_p & best_q).any(1)


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    lengths = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    cosine: torch.Tensor = (a * b).sum(1) / lengths
    return cosine


def _gap(p: torch.Tensor, q: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Largest difference over the text's tokens and those among the likeliest of both."""
    top = min(TOP, p.shape[1])
    least_p, least_q = p.topk(top, 1).values[:, -1:], q.topk(top, 1).values[:, -1:]
    named = (p >= least_p) & (q >= least_q)
    named.scatter_(1, tokens[:, None], value=True)
    return ((p - q).abs() * named).max().cpu()
