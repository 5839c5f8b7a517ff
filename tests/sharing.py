"""What the tests of a folder share, ended with the last of them and not with the run."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_STARTED = pytest.StashKey[dict[str, Any]]()


def of_folder(request: pytest.FixtureRequest, start: Callable[[], AbstractContextManager[T]]) -> T:
    """Give what a fixture of a folder's ``conftest.py`` stands for, started once for the folder.

    pytest ends a fixture of the session with the run: a service would work on for all the time
    that its worker has other tests to do. The fixture's own scope must be the module.
    """
    folder = request.node.getparent(pytest.Dir)
    started = folder.stash.setdefault(_STARTED, {})
    name = request.fixturename
    if name not in started:
        ends = ExitStack()
        started[name] = ends.enter_context(start())
        ends.callback(started.pop, name)  # where tests of others lie between, it is started anew
        folder.addfinalizer(ends.close)
    found: T = started[name]
    return found
