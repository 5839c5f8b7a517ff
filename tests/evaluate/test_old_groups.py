"""Groups of requests that were there before and came no more."""

from datetime import UTC, datetime

import numpy as np

from detectors.clusters import Clusters
from monitor.evaluate.newness import _Counted, _Looking
from monitor.store.records.samples import Sampled


def test_a_group_without_recent_requests_is_none_of_the_new_ones() -> None:
    axes = np.eye(2, 384, dtype=np.float32)
    label = np.repeat([0, 1], 5)
    rows = [
        Sampled(
            id=f"r{number}",
            at=datetime(2026, 3, 1, tzinfo=UTC),
            subject=None,
            similarity=0.1,
            terms=None,
            vector=axes[cluster].astype("<f2").tobytes(),
        )
        for number, cluster in enumerate(label)
    ]
    looking = _Looking(
        rows=rows,
        clusters=Clusters(label=label, centres=axes, cohesion=np.ones(2)),
        recent=label == 0,
        now=_Counted(unlike=5, compared=50),
        before=_Counted(unlike=5, compared=50),
    )
    assert looking.chosen() == [0]
    assert looking.members(1) == []
