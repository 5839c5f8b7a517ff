"""Do two models say the same? Token by token, on the same texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopLogprobs:
    """A model's expectation at each of ``P`` scored tokens of some texts.

    chosen
        ``(P,)`` logprob in nats of the token that stands in the text.
    tokens, logprobs
        ``(P, K)`` ids and logprobs of the K likeliest tokens, best first; -1 and -inf
        where fewer are known.
    document
        ``(P,)`` index of the text that the token is of.
    """

    chosen: Floats
    tokens: Ints
    logprobs: Floats
    document: Ints
