"""The rules that teams write themselves, each a line over a window of 50 records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from scipy.stats import ks_2samp

from benchmarks.adapters.contestants.entry import Entry, entry_of
from benchmarks.adapters.contestants.experiment import WINDOW, Experiment, Floats, Requests

LEVEL = 0.05
RISE = 1.2
"""Perplexity of the answers over the baseline's from which the threshold alarms."""
SHARE = 0.05
"""Failed requests of a window above which the error rate alarms."""

Rule = Callable[[Requests, Requests, int, int], bool]
"""Whether the live records from one place up to another alarm, beside the baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A rule with its name on the page; ``package`` is whose version is told."""

    tool: str
    settings: str
    alarms: Rule
    package: str | None = None


def by_request(baseline: Requests, live: Requests, start: int, end: int) -> bool:
    """KS test of the mean NLL of requests."""
    return _differ(_known(baseline.column("mean_nll")), _known(live.column("mean_nll")[start:end]))


def by_token(baseline: Requests, live: Requests, start: int, end: int) -> bool:
    """KS test of the log-probabilities of all tokens, as if each came by itself."""
    return _differ(_flat(baseline.tokens), _flat(live.tokens[start:end]))


def perplexity(baseline: Requests, live: Requests, start: int, end: int) -> bool:
    """Perplexity of the answers, over all tokens of the window."""
    now = _flat(live.tokens[start:end])
    return bool(now.size and np.exp(_flat(baseline.tokens).mean() - now.mean()) > RISE)


def errors(_baseline: Requests, live: Requests, start: int, end: int) -> bool:
    """Share of failed requests."""
    return bool(live.column("failed")[start:end].mean() > SHARE)


PLAIN: Mapping[str, Plain] = {
    "ks_request": Plain(
        tool="KS by request",
        settings=f"ks_2samp of the mean NLL, p < {LEVEL}, every {WINDOW} requests",
        alarms=by_request,
        package="scipy",
    ),
    "ks_token": Plain(
        tool="KS by token",
        settings=f"ks_2samp of token log-probabilities, p < {LEVEL}, every {WINDOW} requests",
        alarms=by_token,
        package="scipy",
    ),
    "perplexity": Plain(
        tool="Perplexity threshold",
        settings=f"perplexity of the answers above {RISE} × the baseline's, every {WINDOW}",
        alarms=perplexity,
    ),
    "errors": Plain(
        tool="Errors only",
        settings=f"more than {100 * SHARE:.0f} % of {WINDOW} requests with status 400 or above",
        alarms=errors,
    ),
}


def run(plain: Plain, experiment: Experiment) -> Entry:
    """Follow one experiment with one rule."""
    begin = time.process_time()
    ends = [
        end
        for start, end in experiment.windows()
        if plain.alarms(experiment.baseline, experiment.live, start, end)
    ]
    return entry_of(
        ends,
        experiment,
        tool=plain.tool,
        version=version(plain.package) if plain.package else None,
        settings=plain.settings,
        cpu_s=time.process_time() - begin,
    )


def _differ(before: Floats, now: Floats) -> bool:
    # "auto" computes exactly for small samples and warns on ties; the usual call is asymptotic
    return bool(before.size and now.size) and bool(
        ks_2samp(before, now, method="asymp").pvalue < LEVEL
    )


def _known(column: Floats) -> Floats:
    return column[~np.isnan(column)]


def _flat(tokens: Sequence[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *tokens])
