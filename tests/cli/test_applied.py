"""Is an adapter applied, where its engine lends the base an adapter's weights at times?"""

from collections.abc import Sequence

import numpy as np
import pytest

from detectors.identity import IdentityState
from detectors.parity import TopLogprobs
from monitor.cli.applied import check
from monitor.probes.asking import Target
from monitor.probes.cards import ModelCard
from monitor.probes.comparing import AT_ONCE

BASE = "base"
OWN = ModelCard(id="support@v1", parent=BASE, root=None, owner="vllm")
TEXTS = [f"text {number}" for number in range(2 * AT_ONCE)]


class Lending:
    """Reads a text as one token; the base reads ``alone`` of each 8 texts alone.

    The others it reads with the adapter's weights when it reads them again.
    """

    def __init__(self, *, alone: int) -> None:
        self.alone = alone
        self.calls = 0

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs:
        number = np.arange(len(texts))
        self.calls += 1
        beside = (number >= self.alone) & (target.model == BASE)
        lent = beside & (self.calls > len(TEXTS) // AT_ONCE)
        level = np.where(lent | (target.model != BASE), 2.0, 1.0)
        return TopLogprobs(
            chosen=-level,
            tokens=np.ones((len(texts), 1), dtype=np.int64),
            logprobs=-level[:, None],
            document=number,
            beside=frozenset(number[beside].tolist()),
        )


@pytest.mark.parametrize(
    ("alone", "state", "floor"),
    [
        pytest.param(3, IdentityState.APPLIED, 1e-3, id="6 texts were read alone"),
        pytest.param(2, IdentityState.UNKNOWN, 0.1, id="4 texts of 1 token were read alone"),
    ],
)
def test_noise_is_that_of_texts_that_the_base_read_alone(
    alone: int, state: IdentityState, floor: float
) -> None:
    found = check(Lending(alone=alone), [OWN], TEXTS, tick=lambda *_: None)
    assert found.floor == pytest.approx(floor)
    [adapter] = found.adapters
    assert adapter.identity is not None
    assert adapter.identity.state is state
