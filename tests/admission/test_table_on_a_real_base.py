"""The table of broken adapters on SmolLM2-135M, whose adapters the benchmark trains on public data.

`python -m benchmarks adapters` leaves base and adapters in ``build/adapters/cache``.
"""

from pathlib import Path

import pytest

from tests.admission.broken_adapters import UP, Change, checked, made, scaled
from tests.admission.test_table import BROKEN, SOUND, refused

CACHE = Path(__file__).parents[2] / "build" / "adapters" / "cache"
BASE = CACHE / "base"
TRAINED = [CACHE / f"{task}-v{n}" for task in ("bank", "concierge", "maths") for n in (1, 2)]
AS_IN_THE_DEMO = 0.47
"""Of the base's size: at this the table's changes of size break an adapter."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BASE.is_dir(), reason="no adapters were trained here"),
]


@pytest.fixture(scope="module")
def grown() -> float:
    """How many times a trained adapter must grow to be as large as the demo's."""
    number = checked(TRAINED[0], base=BASE)["size"].number
    assert number is not None
    return AS_IN_THE_DEMO / number


@pytest.mark.parametrize(("reason", "change"), BROKEN.values(), ids=BROKEN)
def test_a_broken_adapter_is_refused_for_its_reason(
    reason: str, change: Change, grown: float, tmp_path: Path
) -> None:
    folder = made(tmp_path / "broken", change, of=TRAINED[0], size=grown)
    assert refused(checked(folder, base=BASE)) == [reason]


@pytest.mark.parametrize("times", [6.0, -6.0])
def test_an_adapter_far_from_its_parent_is_refused(times: float, tmp_path: Path) -> None:
    found = checked(
        made(tmp_path / "child", scaled(times), of=TRAINED[0]), parent=TRAINED[0], base=BASE
    )
    assert refused(found) == ["parent"]


def test_a_module_that_outgrew_its_mates_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "broken", scaled(40.0, UP), of=TRAINED[0], size=0.2)
    assert refused(checked(folder, base=BASE)) == ["mates"]


@pytest.mark.parametrize("folder", TRAINED, ids=lambda folder: folder.name)
def test_no_trained_adapter_is_refused(folder: Path) -> None:
    parent = folder.with_name(folder.name.replace("v2", "v1")) if "v2" in folder.name else None
    assert refused(checked(folder, parent=parent, base=BASE)) == []


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND)
def test_a_sound_adapter_is_not_refused(change: Change, tmp_path: Path) -> None:
    folder = made(tmp_path / "sound", change, of=TRAINED[0])
    assert refused(checked(folder, parent=TRAINED[0], base=BASE)) == []
