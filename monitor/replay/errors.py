"""The reasons for which a log cannot be replayed."""


class ReplayFailed(Exception):  # noqa: N818 (reads as a sentence where it is raised)
    """The log, the baseline or the training texts cannot be used; the text says what would do."""
