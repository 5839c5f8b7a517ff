from pathlib import Path

from tests.docs.size import code_lines, sizes

SOURCE = '''"""Says what the module is."""

import math  # noqa: F401


def half(
    whole: float,  # of what
) -> float:
    """Say what it is
    over two lines.
    """
    # why
    text = """one
    two"""
    return whole / len(text)


LIMIT = 3
"""In seconds."""
'''


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    assert code_lines(SOURCE) == 8
    assert code_lines("") == 0


def test_each_package_is_counted_with_all_below_it(tmp_path: Path) -> None:
    for place in ("alone.py", "store/one.py", "store/deep/two.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("a = 1\n\n# why\nb = 2\n")
    assert sizes(tmp_path) == {"itself": 2, "store": 4}
