"""What users ask: live texts of a domain, or of another one once they change topic."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from random import Random

from examples.texts import Domain, Part, part


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A share of the users asks about ``domain``, the others about what they always did."""

    domain: Domain
    share: float


class Questions:
    """An endless stream of one adapter's questions; `topic` may be set at any time."""

    def __init__(self, home: Domain, *, seed: int) -> None:
        self.topic = Topic(domain=home, share=1.0)
        self._home = home
        self._random = Random(seed)  # noqa: S311 - draws topics, not secrets
        self._streams: dict[Domain, Iterator[str]] = {}

    def __next__(self) -> str:
        topic = self.topic
        domain = topic.domain if self._random.random() < topic.share else self._home
        return next(self._stream(domain))

    def __iter__(self) -> Iterator[str]:
        return self

    def back_to_normal(self) -> None:
        """Let everybody ask what they always asked."""
        self.topic = Topic(domain=self._home, share=1.0)

    def _stream(self, domain: Domain) -> Iterator[str]:
        if domain not in self._streams:
            prompts = [pair.prompt for pair in part(domain, Part.LIVE)]
            self._random.shuffle(prompts)
            self._streams[domain] = cycle(prompts)
        return self._streams[domain]
