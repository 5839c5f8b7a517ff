from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.report import tables
from monitor.report.tables import ReportTexts, Tables

VALUES = st.lists(st.floats(allow_infinity=False), max_size=30).map(np.array)


@given(reference=VALUES, window=VALUES, notice=st.lists(st.text(st.characters(codec="utf-8"))))
def test_tables_come_back_from_their_file(
    tmp_path_factory: object, reference: np.ndarray, window: np.ndarray, notice: list[str]
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.npz"  # type: ignore[attr-defined]
    lines = tuple(notice)
    texts = ReportTexts(reference={"prompt": notice}, window={"prompt": ["", *notice]})
    given_ = Tables(
        reference={"mean_nll": reference.astype(float)},
        window={"mean_nll": window.astype(float)},
        rates=("loop",),
        texts=texts,
        notice=lines,
        name="support@v7",
    )
    tables.save(path, given_)
    found = tables.load(path)
    np.testing.assert_array_equal(found.reference["mean_nll"], given_.reference["mean_nll"])
    np.testing.assert_array_equal(found.window["mean_nll"], given_.window["mean_nll"])
    assert (found.notice, found.rates, found.texts) == (lines, ("loop",), texts)


def test_a_small_table_is_kept_whole_and_in_order() -> None:
    column = np.arange(50.0)
    before, after = tables.sampled({"x": column}, {"x": column[::-1]}, seed=3)
    np.testing.assert_array_equal(before["x"], column)
    np.testing.assert_array_equal(after["x"], column[::-1])


def test_a_large_table_is_sampled_the_same_way_every_time() -> None:
    column = np.arange(25_000.0)
    once = tables.sampled({"x": column}, {"x": column, "y": -column}, seed=3)
    again = tables.sampled({"x": column}, {"x": column, "y": -column}, seed=3)
    for first, second in zip(once, again, strict=True):
        np.testing.assert_array_equal(first["x"], second["x"])
    assert once[0]["x"].size == once[1]["x"].size == tables.MOST_ROWS
    assert np.unique(once[0]["x"]).size == tables.MOST_ROWS


def test_a_row_of_the_window_stays_one_record() -> None:
    column = np.arange(25_000.0)
    _, after = tables.sampled({}, {"x": column, "y": -column}, seed=3)
    np.testing.assert_array_equal(after["x"], -after["y"])


def test_a_signal_that_one_side_did_not_measure_cannot_be_compared() -> None:
    measured, absent = np.array([1.0, 2.0, np.nan]), np.array([1.0, np.nan, np.nan])
    assert tables.comparable(
        {"both": measured, "reference only": measured, "window only": absent},
        {"both": measured, "reference only": absent, "window only": measured},
    ) == ("both",)


def test_an_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, words=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        tables.load(path)
