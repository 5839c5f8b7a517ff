"""What the preset classic costs is counted by the rule that the judge applies."""

import numpy as np

from benchmarks.statistics.classic import counted, p_values
from detectors.textbook import SMALLEST_P_VALUE


def test_tickets_are_counted_as_the_rule_opens_them() -> None:
    # two in a row, then three: one ticket; it closes after three within, and opens once more
    smallest = np.array([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    assert counted(smallest, SMALLEST_P_VALUE) == {"tickets": 2, "past": 9}


def test_the_smallest_p_value_of_a_check_is_that_of_the_signal_that_moved() -> None:
    rng = np.random.default_rng(1)
    ordered = (np.sort(rng.normal(size=2_000)), np.sort(rng.normal(size=2_000)))
    values = rng.normal(size=(80, 2))
    values[40:, 1] += 3.0
    values[0, 0] = np.nan
    usual, moved = p_values(ordered, values, per_check=40)
    assert usual > 1e-3
    assert moved < 1e-12
