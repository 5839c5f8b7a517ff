"""The five acts. Each ends with checks of all that must, and must not, have happened.

They wait for what they show, for many times what a quiet machine takes: a busy one plays
the same acts more slowly, and a sign that has not come by then does not come.
"""

from collections.abc import Callable
from typing import Final

from examples.demo.acts.healing import healing
from examples.demo.acts.healthy import healthy
from examples.demo.acts.releases import releases
from examples.demo.acts.topic import topic
from examples.demo.acts.weights import weights
from examples.demo.outcome import ActResult
from examples.demo.stage import Stage

ACTS: Final[tuple[Callable[[Stage], ActResult], ...]] = (
    healthy,
    topic,
    weights,
    releases,
    healing,
)
"""In the order they are played."""
