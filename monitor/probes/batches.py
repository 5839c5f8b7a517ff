"""Cut texts into batches for a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Cut positions, shortest text first, into batches of at most ``budget`` padded tokens.

    A text longer than the budget gets a batch to itself.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
