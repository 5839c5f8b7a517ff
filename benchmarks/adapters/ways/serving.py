"""The right name answers with something else: what engines and deployments do wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.adapters.tasks import TASKS
from benchmarks.adapters.ways.way import Expected, OfServing, Shelf, Way

FAMILY: Final = "serving"


def base(shelf: Shelf) -> Path:
    """The base answers under the adapter's name: the adapter is not applied."""
    return shelf.nothing()


def other_adapter(shelf: Shelf) -> Path:
    """Another task's adapter answers."""
    other = TASKS[(TASKS.index(shelf.adapter) + 1) % len(TASKS)]
    return shelf.version("v2", of=other)


def stale(shelf: Shelf) -> Path:
    """The version before answers, as where a reload did not take."""
    return shelf.version("v1")


def wrong_revision(shelf: Shelf) -> Path:
    """The adapter was trained on another revision of the base than the one that serves it."""
    return shelf.on_revision()


WAYS: Final = (
    Way(
        name="base-under-the-name",
        family=FAMILY,
        says="the base model answers under the adapter's name",
        fault=OfServing(choose=base),
        expected=Expected(seen=True, blame=("serving",)),
    ),
    Way(
        name="other-adapter",
        family=FAMILY,
        says="another task's adapter answers under the name",
        fault=OfServing(choose=other_adapter),
        expected=Expected(seen=True, blame=("serving",)),
    ),
    Way(
        name="stale-version",
        family=FAMILY,
        says="the version before answers under the new one's name",
        fault=OfServing(choose=stale),
        expected=Expected(seen=True, blame=("serving", "adapter")),
    ),
    Way(
        name="stale-prefix-cache",
        family=FAMILY,
        says="the right weights answer on a prefix cache that other weights wrote",
        fault=OfServing(choose=other_adapter, cached=True),
        expected=Expected(seen=True, blame=("serving", "adapter")),
    ),
    Way(
        name="wrong-base-revision",
        family=FAMILY,
        says="the adapter was trained on another revision of the base",
        fault=OfServing(choose=wrong_revision),
        expected=Expected(seen=True, blame=("adapter", "serving"), moved=True),
    ),
)
