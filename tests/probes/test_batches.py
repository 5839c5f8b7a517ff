"""How texts are cut into batches, and what a frame is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes import framing, protocol
from monitor.probes.batches import batches


@given(st.lists(st.integers(min_value=1, max_value=600), max_size=80), st.integers(1, 4096))
def test_every_text_is_in_one_batch_and_none_exceeds_the_budget(
    lengths: list[int], budget: int
) -> None:
    cut = list(batches(lengths, budget=budget))
    assert sorted(i for batch in cut for i in batch) == list(range(len(lengths)))
    for batch in cut:
        padded = max(lengths[i] for i in batch) * len(batch)
        assert padded <= budget or len(batch) == 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_request_survives_its_frame(texts: list[str]) -> None:
    framed = framing.frame(protocol.Embed(texts=texts))
    size = framing.body_length(framed[: framing.LENGTH_BYTES])
    assert size == len(framed) - framing.LENGTH_BYTES
    asked = protocol.REQUESTS.decode(framed[framing.LENGTH_BYTES :])
    assert asked == protocol.Embed(texts=texts)


def test_a_senseless_length_is_refused() -> None:
    with pytest.raises(ValueError, match="4294967295 bytes"):
        framing.body_length(b"\xff" * 4)
