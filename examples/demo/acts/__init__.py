"""The four acts. Each ends with checks of all that must, and must not, have happened."""

from collections.abc import Callable
from typing import Final

from examples.demo.acts.healthy import healthy
from examples.demo.acts.releases import releases
from examples.demo.acts.topic import topic
from examples.demo.acts.weights import weights
from examples.demo.outcome import ActResult
from examples.demo.stage import Stage

ACTS: Final[tuple[Callable[[Stage], ActResult], ...]] = (healthy, topic, weights, releases)
"""In the order they are played."""
