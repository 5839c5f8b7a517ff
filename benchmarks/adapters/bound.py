"""How much a count of runs proves."""

from typing import Final

from scipy.special import betaincinv

SURE: Final = 0.95


def upper_bound(failed: int, runs: int) -> float:
    """Clopper and Pearson's one-sided 95 % bound of the share of runs that fail.

    >>> round(upper_bound(0, 300), 4)  # the rule of three
    0.0099
    """
    if failed >= runs:
        return 1.0
    return float(betaincinv(failed + 1, runs - failed, SURE))
