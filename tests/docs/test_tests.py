"""Every test can fail, and none because the machine is busy.

A test asserts, expects a refusal, or calls a helper of ours that does. What must come about has
:data:`tests.service.PATIENCE` to do so; how fast it comes is what benchmarks measure.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef

EXPECTS = {"pytest.raises", "pytest.warns", "pytest.fail"}
COMPARES = ("np.testing.assert_", "torch.testing.assert_")


@cache
def module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def functions(path: Path) -> Mapping[str, Function]:
    """Give the functions of a module by name, and those that it imports from others of ours."""
    found: dict[str, Function] = {}
    for node in module(path).body:
        if isinstance(node, Function):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
            source = ROOT / f"{node.module.replace('.', '/')}.py"
            known = functions(source) if source.is_file() else {}
            found |= {
                one.asname or one.name: known[one.name] for one in node.names if one.name in known
            }
    return found


@cache
def homes() -> Mapping[Function, Path]:
    return {
        node: path for path in sources() for node in module(path).body if isinstance(node, Function)
    }


@cache
def sources() -> tuple[Path, ...]:
    return tuple(sorted((ROOT / "tests").rglob("*.py")))


@cache
def can_fail(function: Function) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in EXPECTS or called.startswith(COMPARES):
                return True
            helper = functions(homes()[function]).get(called)
            if helper not in {None, function} and can_fail(helper):
                return True
    return False


def every_test() -> Iterator[tuple[Path, Function]]:
    for path in sources():
        for node in ast.walk(module(path)):
            if isinstance(node, Function) and node.name.startswith("test_"):
                yield path, node


def test_every_test_can_fail() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{one.lineno} {one.name}"
        for path, one in every_test()
        if not can_fail(one)
    ] == []


CLOCKS = {"time.monotonic", "time.perf_counter", "time.time"}


def _times(node: ast.AST) -> bool:
    """Whether a difference of two readings of the wall's clock is in it."""
    return any(
        isinstance(one, ast.BinOp)
        and isinstance(one.op, ast.Sub)
        and isinstance(one.left, ast.Call)
        and ast.unparse(one.left.func) in CLOCKS
        and not isinstance(one.right, ast.Constant)  # a moment of the past
        for one in ast.walk(node)
    )


def timed(function: Function) -> bool:
    taken = {
        ast.unparse(target)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and _times(node.value)
        for target in node.targets
    }
    return any(
        _times(node) or taken & {ast.unparse(one) for one in ast.walk(node.test)}
        for node in ast.walk(function)
        if isinstance(node, ast.Assert)
    )


def test_no_test_asserts_a_time_of_the_wall() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{one.lineno} {one.name}"
        for path in sources()
        for one in ast.walk(module(path))
        if isinstance(one, Function) and timed(one)
    ] == []
