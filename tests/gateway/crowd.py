"""Clients that ask all the time and try nothing again: each failure is counted."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2


@dataclass
class Crowd:
    """Who was answered, by what the test counts, and what went wrong; in threads."""

    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self, *clients: Callable[[], None]) -> Iterator[None]:
        """Let each client ask, until the block is left and it has seen that it is over."""
        threads = [threading.Thread(target=client) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def count(self, ask: Callable[[], str], *, who: str) -> None:
        """Ask once: what it gives was answered, what it raises has failed."""
        try:
            self.answered[ask()] += 1
        except (httpx2.HTTPError, AssertionError) as error:
            self.failures.append(f"{who}: {error!r}")
