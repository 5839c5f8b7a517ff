"""A population of requests: simulated token by token, measured once by the product's code.

A token's NLL is ``scale exp(spread z) e``, with one random effect z per request and e Gamma
of mean 1 and shape .35: most tokens are near-certain and some cost several nats, as in real
answers. With 60 to 400 tokens a request the per-request mean NLL has an sd of about .11 nats,
so that +.5 sd is about +5.6 % perplexity.

A stream is then a draw from this finite population: for each request the stream says which z
it has, and gets a request of the population with that z (to .005). So a month of an adapter costs
its draws and not its 15 million tokens, and its summaries are still exactly what the product
measures on tokens. ``tests/benchmarks`` proves it on a small case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.contestant import summaries
from detectors.types import Floats

SIGNALS = ("mean_nll", "p95_nll", "near_certain", "log_length")
Requests = list[npt.NDArray[np.float32]]

_SHAPE = 0.35
_SPREAD = 0.15
_CHUNK = 4_000
_JITTER = 0.005
_INNER, _OUTER = (-6.0, 6.0), (6.0, 16.0)
_INNER_SHARE = 0.85


class Kind(StrEnum):
    """What is asked of the adapter."""

    CHAT = "chat"
    EXTRACT = "extract"
    LONG = "long"
    LOOP = "loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tokens:
    """Mean NLL of a token and how long answers are (log-normal, clipped)."""

    scale: float
    length: float
    length_sd: float = 0.35
    longest: int = 600


_TOKENS: Mapping[Kind, _Tokens] = {
    Kind.CHAT: _Tokens(scale=0.52, length=150.0),
    Kind.EXTRACT: _Tokens(scale=0.15, length=40.0),
    Kind.LONG: _Tokens(scale=0.6, length=350.0),
    Kind.LOOP: _Tokens(scale=0.01, length=450.0, length_sd=0.1),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Population:
    """Requests of one kind in order of their random effect z, and their summaries.

    ``unit`` is the step of z that moves a request's mean NLL by one sd of ordinary
    requests: drift is stated in this unit.
    """

    z: Floats
    summary: Floats
    unit: float
    requests: Requests | None = None

    def draw(self, z: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Rows of requests that have the random effects ``(n,)``."""
        wanted = z + rng.uniform(-_JITTER, _JITTER, size=z.size)
        return np.minimum(np.searchsorted(self.z, wanted), self.z.size - 1)


def simulate(kind: Kind, *, size: int, seed: int, keep_tokens: bool = False) -> Population:
    """Simulate ``size`` requests of a kind whose random effects cover [-6, 16]."""
    rng = np.random.default_rng([seed, list(Kind).index(kind)])
    z = _effects(size, rng)
    measured, requests = np.empty((size, len(SIGNALS))), []
    for begin in range(0, size, _CHUNK):
        made = _requests(_TOKENS[kind], z[begin : begin + _CHUNK], rng)
        found = summaries(made)
        measured[begin : begin + len(made)] = np.column_stack([found[name] for name in SIGNALS])
        requests += made if keep_tokens else []
    return Population(
        z=z, summary=measured, unit=_unit(z, measured[:, 0]), requests=requests or None
    )


def _effects(size: int, rng: np.random.Generator) -> Floats:
    """Many around zero, where ordinary requests are, and some far out for bad ones."""
    inner = round(_INNER_SHARE * size)
    return np.sort(
        np.concatenate([rng.uniform(*_INNER, size=inner), rng.uniform(*_OUTER, size=size - inner)])
    )


def _requests(kind: _Tokens, z: Floats, rng: np.random.Generator) -> Requests:
    lengths = np.exp(rng.normal(np.log(kind.length), kind.length_sd, size=z.size))
    sizes = np.clip(lengths, 8, kind.longest).astype(np.int64)
    scales = np.repeat(kind.scale * np.exp(_SPREAD * z), sizes)
    nll = rng.gamma(_SHAPE, 1.0 / _SHAPE, size=scales.size) * scales
    return np.split(-nll.astype(np.float32), np.cumsum(sizes)[:-1])


def _unit(z: Floats, mean_nll: Floats) -> float:
    """Sd of the mean NLL of requests with z ~ N(0, 1), over its slope in z."""
    weight = np.exp(-0.5 * z * z) * (np.abs(z) < _INNER[1])
    weight /= weight.sum()
    centre_z, centre = float(weight @ z), float(weight @ mean_nll)
    variance = float(weight @ np.square(mean_nll - centre))
    slope = float(weight @ ((z - centre_z) * (mean_nll - centre)))
    return float(np.sqrt(variance) / slope)
