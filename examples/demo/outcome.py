"""How an act ended: what was checked, what was seen, and how long things took."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that must hold when an act ends, and what was seen of it."""

    what: str
    passed: bool
    seen: str = ""


@dataclass(slots=True, kw_only=True)
class ActResult:
    """Checks and times of one act, in the order they were made."""

    title: str
    checks: list[Check] = field(default_factory=list)
    times: list[tuple[str, float]] = field(default_factory=list)

    @property
    def missing(self) -> list[Check]:
        """Checks that did not hold."""
        return [check for check in self.checks if not check.passed]

    @property
    def passed(self) -> bool:
        """Whether something was checked and everything held."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def check(self, what: str, passed: object, *, seen: object = "") -> None:
        """Note a check."""
        self.checks.append(Check(what=what, passed=bool(passed), seen=str(seen)))

    def took(self, what: str, seconds: float) -> None:
        """Note how long something took."""
        self.times.append((what, seconds))
