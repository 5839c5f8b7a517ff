"""Whether a version may answer people, and the checks that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitor.views.shape import View
from monitor.views.vocabulary import AdmissionWord, CheckWord


class CheckBody(View):
    """One check: its number beside its limit."""

    name: str
    verdict: CheckWord
    """`skipped`: it could not be measured; the reason says what is missing."""
    number: float | None
    limit: str
    reason: str
    parent: float | None
    """The same number in the newest report of the version's parent."""
    details: Mapping[str, Any]


class AdmissionBody(View):
    """The newest admission of a version."""

    adapter: str
    version: str
    number: int
    state: AdmissionWord
    verdict: CheckWord | None
    """The worst of its checks; null until they are done. Of `failed` ones it stays null."""
    admitted: bool
    """True for `pass` and `warn`, unless it is unverified."""
    unverified: str | None
    """Title of the declared change of the base since; null: there is none."""
    required: bool
    """Whether only admitted versions get traffic (`[admission] required`)."""
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None
    parent: str | None
    identity: str | None
    """Of the files that were checked."""
    checks: Sequence[CheckBody]
    error: str | None
    """Why it could not be checked."""

    @property
    def label(self) -> str:
        """``support@v7``, as messages write it."""
        return f"{self.adapter}@{self.version}"

    @property
    def sentence(self) -> str:
        """Say in one sentence whether the version may answer people."""
        if self.error:
            return f"{self.label} was not checked: {self.error}"
        if self.verdict is None:
            return f"{self.label} is being checked"
        refused = [one.name for one in self.checks if one.verdict == "refuse"]
        if refused:
            return f"{self.label} is refused: {', '.join(refused)}"
        if self.unverified is not None:
            changed = f"its base changed since it was admitted ({self.unverified})"
            return f"{self.label} is unverified: {changed}; admit it again"
        warned = [one.name for one in self.checks if one.verdict == "warn"]
        noted = f", with warnings: {', '.join(warned)}" if warned else ""
        return f"{self.label} is admitted{noted}"
