"""Tables in the width at hand: no word is cut, whatever people call their adapters."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from monitor.cli.tables import prose, table_lines

COLUMNS = ("adapter", "verdict", "since", "incident", "compared", "traffic", "reference")
LONG = "payments-emea-customer-support-production"

words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=25)
cells = st.lists(words, max_size=8).map(" ".join)


def lines(*rows: tuple[str, ...], width: int = 80, why: str = "") -> list[str]:
    drawn = [[Text(cell) for cell in row] for row in rows]
    return [
        str(line)
        for line in table_lines(COLUMNS[: len(rows[0])], drawn, width=width, below=[[why]])
    ]


def test_a_long_name_has_a_line_of_its_own_and_the_columns_stay() -> None:
    at = "2026-11-28 01:41:07"
    drawn = lines(
        (LONG, "insufficient", at, "#41", "92%", "v17 100%", "provisional"),
        ("booking", "stable", at, "-", "100%", "v1 100%", "approved"),
        why="55 % of requests fail (normally 0 %) since 01:41 UTC; likely cause: not known yet",
    )
    assert max(map(cell_len, drawn)) <= 80
    assert drawn[1] == LONG
    assert drawn[0].index("since") == drawn[2].index("2026-11-28") == drawn[-2].index("2026-11-28")
    assert drawn[4].startswith("  55 % of requests fail")


def test_what_does_not_fit_beside_each_other_stands_below_each_other() -> None:
    error = "https://hooks.example/services/T0/B0/a-very-long-path: connection refused"
    drawn = lines((LONG, "critical", error), width=60)
    assert drawn[:2] == [LONG, "  verdict: critical"]
    assert "  https://hooks.example/services/T0/B0/a-very-long-path:" in drawn


@given(
    st.lists(st.tuples(words, *[cells] * 5), min_size=1, max_size=4),
    st.integers(min_value=40, max_value=160),
)
def test_no_word_is_cut_and_only_a_word_that_is_too_long_is_wider_than_the_screen(
    rows: list[tuple[str, ...]], width: int
) -> None:
    drawn = lines(*rows, width=width)
    said = {word for line in drawn for word in line.split()}
    for row in rows:
        for cell in row:
            assert set(cell.split()) <= said
    for line in drawn:
        longest = max(map(cell_len, line.split()), default=0)
        assert cell_len(line) <= max(width, longest + len("incident: ") + 2)


def test_prose_breaks_between_words_and_leaves_commands_and_addresses_whole() -> None:
    command = 'driftline incident false 7 --reason "our own load test"'
    address = "http://driftline.example:8440/incidents/7"
    said = f"  page: {address}, and `driftline incident list --open` shows all of the others"
    assert prose(said, 40) == [
        "  page:",
        f"  {address},",
        "  and `driftline incident list --open`",
        "  shows all of the others",
    ]
    assert prose(f"if it was a false alarm: {command}", 40) == [
        "if it was a false alarm:",
        command,
    ]


@given(st.lists(words, min_size=1, max_size=30), st.integers(min_value=20, max_value=120))
def test_prose_keeps_every_word_in_its_place(said: list[str], width: int) -> None:
    text = " ".join(said)
    lines = prose(text, width)
    assert " ".join(lines) == text
    for line in lines:
        assert cell_len(line) <= width or " " not in line or "`" in line
