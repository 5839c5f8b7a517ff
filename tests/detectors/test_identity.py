from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.identity import BASE, Identity, IdentityState, identify
from detectors.parity import Parity
from detectors.perplexity import DocumentScores

FLOOR = 1e-3


def run(mean_nll: np.ndarray, *, tokens: float = 100.0) -> DocumentScores:
    counts = np.full(mean_nll.size, tokens)
    return DocumentScores(sum_nll=mean_nll * counts, tokens=counts, size_bytes=4.0 * counts)


def divergence(kl: float) -> Parity:
    return Parity(positions=100, kl=kl, top1=0.9, max_delta=1.0, cosine=0.9, exact=False)


@pytest.fixture
def level(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(3.0, 0.5, size=60)


@pytest.fixture
def trained(level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An adapter that finds the corpus harder by .2 nats, unevenly."""
    return level + rng.normal(0.2, 0.1, size=60)


def told(
    own: np.ndarray,
    base: np.ndarray | None,
    *,
    siblings: Mapping[str, np.ndarray] | None = None,
    floor: float = FLOOR,
    registered_gap: float | None = None,
    parity: Mapping[str, Parity] | None = None,
    floors: Mapping[str, float] | None = None,
    since_registration: Parity | None = None,
    roundings: Mapping[str, float] | None = None,
) -> Identity:
    return identify(
        run(own),
        base=None if base is None else run(base),
        siblings={name: run(values) for name, values in (siblings or {}).items()},
        floor=floor,
        registered_gap=registered_gap,
        parity=parity or {},
        sibling_floors=floors or {},
        since_registration=since_registration,
        roundings=roundings or {},
    )


def test_other_weights_as_far_from_the_base_are_told_by_what_they_expect(
    level: np.ndarray, trained: np.ndarray
) -> None:
    gap = float(np.abs(trained - level).mean())
    mirrored = 2 * level - trained
    assert told(mirrored, level, registered_gap=gap).state is IdentityState.APPLIED
    for kl, state in ((0.049, IdentityState.APPLIED), (0.051, IdentityState.WRONG_WEIGHTS)):
        found = told(mirrored, level, registered_gap=gap, since_registration=divergence(kl))
        assert found.state is state
    assert "KL 0.051 nats per token from what was registered (line 0.05)" in found.reason


def test_a_noisier_sibling_is_met_within_its_own_noise(
    level: np.ndarray, trained: np.ndarray
) -> None:
    theirs = level + 2 * (trained - level)
    siblings, noisy = {"billing": theirs}, {"billing": 2 * FLOOR}
    near = theirs + 6 * FLOOR
    assert told(near, level, siblings=siblings).state is IdentityState.APPLIED
    assert told(near, level, siblings=siblings, floors=noisy).state is IdentityState.MIXED_UP
    far = theirs + 9 * FLOOR
    assert told(far, level, siblings=siblings, floors=noisy).state is IdentityState.APPLIED


def test_a_divergence_from_the_registration_does_not_hide_what_else_it_is(
    level: np.ndarray, trained: np.ndarray
) -> None:
    far = divergence(0.5)
    assert told(level, level, since_registration=far).state is IdentityState.NOT_APPLIED
    sibling = {"billing": trained}
    found = told(trained, level, siblings=sibling, since_registration=far)
    assert found.state is IdentityState.MIXED_UP
    assert told(trained, None, since_registration=divergence(0.01)).state is IdentityState.UNKNOWN
    assert told(trained, None, since_registration=far).state is IdentityState.WRONG_WEIGHTS


def test_an_adapter_that_moves_the_documents_is_applied(
    level: np.ndarray, trained: np.ndarray
) -> None:
    found = told(trained, level, parity={BASE: divergence(0.4)})
    assert found.state is IdentityState.APPLIED
    assert found.kl == 0.4
    assert found.nll_difference == pytest.approx((trained - level).mean())
    assert found.gap == pytest.approx(np.abs(trained - level).mean())


def test_an_adapter_that_answers_as_its_base_is_not_applied(level: np.ndarray) -> None:
    found = told(level + 0.9e-3, level, parity={BASE: divergence(2e-5)})
    assert found.state is IdentityState.NOT_APPLIED
    assert "60 documents, largest difference 0.0009 nats per token (line 0.004)" in found.reason


@pytest.mark.parametrize(
    ("move", "kl", "state"),
    [
        pytest.param(0.0039, None, IdentityState.NOT_APPLIED, id="3.9 floors, no divergence"),
        pytest.param(0.0041, None, IdentityState.APPLIED, id="4.1 floors"),
        pytest.param(0.0, 0.9e-3, IdentityState.NOT_APPLIED, id="divergence of .9 floors"),
        pytest.param(0.0, 1.1e-3, IdentityState.UNKNOWN, id="divergence of 1.1 floors"),
        pytest.param(0.0041, 1.1e-3, IdentityState.APPLIED, id="4.1 floors, divergence of 1.1"),
        pytest.param(0.0, np.nan, IdentityState.NOT_APPLIED, id="divergence of no positions"),
    ],
)
def test_where_the_line_to_the_base_lies(
    level: np.ndarray, move: float, kl: float | None, state: IdentityState
) -> None:
    own = level.copy()
    own[17] += move
    parity = {} if kl is None else {BASE: divergence(kl)}
    assert told(own, level, parity=parity).state is state


def beside(base: np.ndarray, alone: int) -> DocumentScores:
    """A base that read all but the first ``alone`` documents while others were answered."""
    return replace(run(base), beside=np.arange(base.size) >= alone)


@pytest.mark.parametrize(
    ("alone", "state"),
    [
        pytest.param(60, IdentityState.NOT_APPLIED, id="all read alone"),
        pytest.param(5, IdentityState.NOT_APPLIED, id="enough read alone"),
        pytest.param(4, IdentityState.UNKNOWN, id="too few read alone"),
        pytest.param(0, IdentityState.UNKNOWN, id="none read alone"),
    ],
)
def test_nearness_to_a_base_that_was_read_beside_others_proves_nothing(
    level: np.ndarray, alone: int, state: IdentityState
) -> None:
    found = against(level, beside(level, alone))
    assert found.state is state
    said = f"{alone} of the texts were read alone, 5 needed"
    assert (said in found.reason) is (state is IdentityState.UNKNOWN)


def test_documents_read_alone_show_what_others_hide(level: np.ndarray, trained: np.ndarray) -> None:
    lent = np.where(np.arange(60) < 6, level, trained)
    assert against(trained, beside(lent, 6)).gap == pytest.approx(
        np.abs(trained - level)[:6].mean()
    )
    assert against(trained, beside(trained, 0)).state is IdentityState.UNKNOWN


def test_a_base_that_was_read_beside_others_shows_distance_but_no_loss_of_it(
    level: np.ndarray, trained: np.ndarray
) -> None:
    assert against(trained, beside(level, 0)).state is IdentityState.APPLIED
    nearer = level + 0.3 * (trained - level)
    gap = float(np.abs(trained - level).mean())
    assert told(nearer, level, registered_gap=gap).state is IdentityState.WRONG_WEIGHTS
    found = against(nearer, beside(level, 0), registered_gap=gap)
    assert (found.state, "0 of the texts were read alone" in found.reason) == (
        IdentityState.UNKNOWN,
        True,
    )
    farther = level + 3.0 * (trained - level)
    found = against(farther, beside(level, 0), registered_gap=gap)
    assert found.state is IdentityState.WRONG_WEIGHTS


def against(
    own: np.ndarray, base: DocumentScores, *, registered_gap: float | None = None
) -> Identity:
    return identify(
        run(own), base=base, siblings={}, floor=FLOOR, registered_gap=registered_gap, parity={}
    )


def test_a_noisy_engine_is_given_its_own_floor(level: np.ndarray) -> None:
    own = level + 0.02
    assert told(own, level).state is IdentityState.APPLIED
    assert told(own, level, floor=0.007).state is IdentityState.NOT_APPLIED


def test_a_base_that_was_far_is_met_within_rounding(level: np.ndarray, trained: np.ndarray) -> None:
    gap, rounded = float(np.abs(trained - level).mean()), level + 4 * FLOOR
    rounded[3] = level[3] + 18 * FLOOR
    assert told(rounded, level, registered_gap=gap).state is IdentityState.WRONG_WEIGHTS
    found = told(rounded, level, registered_gap=gap, roundings={BASE: 5 * FLOOR})
    assert found.state is IdentityState.NOT_APPLIED


@pytest.mark.parametrize(
    ("move", "kl"),
    [
        pytest.param(12 * FLOOR, None, id="all documents moved: no rounding does that"),
        pytest.param(4 * FLOOR, 2 * FLOOR, id="another divergence over the prompts"),
    ],
)
def test_a_weakened_adapter_is_not_taken_for_its_base(
    level: np.ndarray, trained: np.ndarray, move: float, kl: float | None
) -> None:
    weakened, gap = level + move, float(np.abs(trained - level).mean())
    weakened[3] = level[3] + 18 * FLOOR
    parity = {} if kl is None else {BASE: divergence(kl)}
    found = told(weakened, level, registered_gap=gap, roundings={BASE: 5 * FLOOR}, parity=parity)
    assert found.state is IdentityState.WRONG_WEIGHTS


def test_of_several_within_rounding_the_nearest_is_named(
    level: np.ndarray, trained: np.ndarray
) -> None:
    own, noise = trained, np.zeros(60)
    noise[3] = 5 * FLOOR
    siblings = {"a": own + 2 * noise, "b": own + noise, "c": level}
    found = told(own, level, siblings=siblings, roundings=dict.fromkeys(siblings, 5 * FLOOR))
    assert (found.state, found.sibling) == (IdentityState.MIXED_UP, "b")


def test_a_siblings_weights_are_named_beside_the_reason(
    level: np.ndarray, trained: np.ndarray
) -> None:
    others = {"travel@v1": level - 0.3, "booking@v1": trained + 1e-4}
    found = told(trained, level, siblings=others, parity={"booking@v1": divergence(1e-6)})
    assert (found.state, found.sibling) == (IdentityState.MIXED_UP, "booking@v1")
    assert "it answers as another adapter does" in found.reason
    assert not any(name in found.reason for name in others)
    assert found.gap == pytest.approx(np.abs(trained - level).mean())


def test_a_sibling_of_the_same_level_and_other_answers_is_another(
    level: np.ndarray, trained: np.ndarray
) -> None:
    found = told(trained, level, siblings={"b": trained}, parity={"b": divergence(0.3)})
    assert found.state is IdentityState.APPLIED


def test_the_base_is_named_before_a_sibling_that_is_not_applied_either(level: np.ndarray) -> None:
    found = told(level, level, siblings={"travel@v1": level})
    assert (found.state, found.sibling) == (IdentityState.NOT_APPLIED, None)


def test_a_sibling_is_met_without_a_base(level: np.ndarray) -> None:
    assert told(level, None, siblings={"b": level}).state is IdentityState.MIXED_UP
    alone = told(level, None, siblings={"b": level + 1.0})
    assert alone.state is IdentityState.UNKNOWN
    assert (alone.gap, alone.nll_difference, alone.kl) == (None, None, None)


@pytest.mark.parametrize(
    ("times", "state"),
    [
        pytest.param(1.02, IdentityState.APPLIED, id="half precision"),
        pytest.param(0.98, IdentityState.APPLIED, id="half precision"),
        pytest.param(1.9, IdentityState.APPLIED, id="below twice"),
        pytest.param(2.1, IdentityState.WRONG_WEIGHTS, id="above twice"),
        pytest.param(0.4, IdentityState.WRONG_WEIGHTS, id="less than half"),
    ],
)
def test_a_gap_far_from_its_registration_is_wrong_weights(
    level: np.ndarray, trained: np.ndarray, times: float, state: IdentityState
) -> None:
    registered = told(trained, level).gap
    found = told(level + times * (trained - level), level, registered_gap=registered)
    assert found.state is state
    assert "at registration" in found.reason


def test_a_base_that_answers_with_the_adapter_beside_a_divergence_is_a_fault_of_the_measurement(
    trained: np.ndarray,
) -> None:
    found = told(trained, trained.copy(), parity={BASE: divergence(0.28)})
    assert (found.state, found.contradictory) == (IdentityState.UNKNOWN, True)
    assert "a fault of the measurement: 60 documents say that the base answers" in found.reason
    assert "KL 0.28" in found.reason


def test_a_registered_gap_of_nothing_came_of_such_a_fault_and_is_not_believed(
    trained: np.ndarray, level: np.ndarray
) -> None:
    assert told(trained, level, registered_gap=0.0).state is IdentityState.APPLIED


def test_a_tiny_gap_may_double(level: np.ndarray) -> None:
    # .005 to .012 is 7 floors apart: noise, however large the ratio
    assert told(level + 0.012, level, registered_gap=0.005).state is IdentityState.APPLIED
    assert told(level + 0.016, level, registered_gap=0.005).state is IdentityState.WRONG_WEIGHTS


def test_documents_of_another_tokenizer_compare_with_nothing(level: np.ndarray) -> None:
    found = identify(
        run(level),
        base=run(level, tokens=99.0),
        siblings={},
        floor=FLOOR,
        registered_gap=None,
        parity={},
    )
    assert found.state is IdentityState.UNKNOWN
    assert "0 documents in common" in found.reason


def test_four_documents_prove_nothing(level: np.ndarray) -> None:
    own, base = level.copy(), level.copy()
    own[:30], base[26:] = np.nan, np.nan
    assert told(own, base).state is IdentityState.UNKNOWN
    base[30:35] = level[30:35]
    assert told(own, base).state is IdentityState.NOT_APPLIED


def test_a_model_without_sense_is_not_its_base(level: np.ndarray) -> None:
    found = told(np.full(60, np.inf), level, registered_gap=0.2)
    assert found.state is IdentityState.WRONG_WEIGHTS
    assert found.gap == pytest.approx((30.0 - level).mean())


@given(
    noise=st.lists(st.floats(-1.0, 1.0), min_size=5, max_size=40),
    floor=st.floats(1e-3, 0.02),
)
def test_noise_within_the_floor_never_looks_like_an_adapter(
    noise: list[float], floor: float
) -> None:
    base = np.linspace(2.0, 4.0, len(noise))
    own = base + floor * np.array(noise)
    assert told(own, base, floor=floor).state is IdentityState.NOT_APPLIED
    assert told(own, base + 1.0, siblings={"b": base}, floor=floor).state is IdentityState.MIXED_UP
