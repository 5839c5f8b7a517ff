"""The store's own errors, besides those that the database raises.

::

    StoreError
    ├── Conflict         the row exists and says something else
    ├── ForeignSchema    this release cannot bring the database to its schema
    └── NotFound         there is no such row
"""

from __future__ import annotations


class StoreError(Exception):
    """A refusal of the store; its text may be shown to the user."""


class Conflict(StoreError):  # noqa: N818 (HTTP calls it so too)
    """The row exists and says something else, which may not be overwritten."""


class ForeignSchema(StoreError):  # noqa: N818 (names what is found)
    """The database has a schema that this release cannot bring to its own."""


class NotFound(StoreError):  # noqa: N818 - named as what it is
    """There is no such row."""
