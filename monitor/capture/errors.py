"""Refusals of a whole request; a single bad record never raises one.

::

    CaptureError
    ├── TooLarge      413  more bytes or records than one request may carry
    ├── Unsupported   415  a content type or encoding that is not read
    ├── Malformed     400  not the JSON that was promised
    ├── Overloaded    429  the queue is full; nothing was kept; try again later
    ├── DiskFull      507  the database's disk is full; nothing was stored
    └── Unavailable   503  the database did not confirm in time; send the same bytes again
"""

from __future__ import annotations


class CaptureError(Exception):
    """A refused request; the text may be shown to the sender."""

    status = 400
    kind = "malformed-body"
    retry_after: int | None = None


class TooLarge(CaptureError):  # noqa: N818 (the names of the answers they become)
    """The request has more bytes or records than permitted."""

    status = 413
    kind = "body-too-large"


class Unsupported(CaptureError):  # noqa: N818 - named as what it is
    """The content type or content encoding is not supported."""

    status = 415
    kind = "unsupported-media"


class Malformed(CaptureError):  # noqa: N818 - named as what it is
    """The body is not valid JSON of the expected form."""


class Overloaded(CaptureError):  # noqa: N818 - named as what it is
    """The queue is full: the request was dropped. ``retry_after`` is in seconds."""

    status = 429
    kind = "overloaded"
    retry_after: int

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(f"the queue of records is full; send this again in {retry_after} s")
        self.retry_after = retry_after


class DiskFull(CaptureError):  # noqa: N818 - named as what it is
    """The database's disk is full or nearly so: nothing of the request was stored."""

    status = 507
    kind = "disk-full"
    retry_after: int

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(
            f"the database's disk is full; nothing was stored: send this again in {retry_after} s"
        )
        self.retry_after = retry_after


class Unavailable(CaptureError):  # noqa: N818 - named as what it is
    """The database did not confirm in time.

    The records may or may not be stored; sending the same bytes again stores each once.
    """

    status = 503
    kind = "not-durable"
    retry_after: int

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(
            "the database did not confirm in time;"
            f" send the same bytes again in {retry_after} s, nothing is stored twice"
        )
        self.retry_after = retry_after
