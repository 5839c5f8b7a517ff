"""How many lines of code each package has: without blank lines, comments and docstrings.

``python -m tests.docs.size`` prints the table that docs/decisions/0039 holds; other folders may be
named behind it.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SAYS_NOTHING: Final = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)


def code_lines(source: str) -> int:
    """Count the lines that a token stands on, but for those of strings that only explain."""
    lines = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _SAYS_NOTHING:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def sizes(folder: Path) -> Counter[str]:
    """Count the lines of each package, and of the modules beside them."""
    found = Counter[str]()
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder)
        found[inside.parts[0] if inside.parts[1:] else "itself"] += code_lines(path.read_text())
    return found


if __name__ == "__main__":
    for name in sys.argv[1:] or ["monitor"]:
        counted = sizes(ROOT / name)
        print(f"{name}: {counted.total():,}")
        for package, lines in counted.most_common():
            print(f"  {package:12} {lines:6,}")
