"""What can be seen at one moment: the fleet, the traffic, the messages."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from examples.demo.cast import IN_CHARGE
from examples.demo.driftline_client import Adapter, Canary, DriftlineClient
from examples.demo.processes import Processes
from examples.demo.receiver import Message, Receiver
from examples.demo.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One adapter: what Driftline says of it, and who really answers its users.

    ``answering`` counts answers of the last 2 seconds by version.
    """

    state: Adapter
    rate: float
    answering: Counter[str]

    @property
    def only(self) -> str | None:
        """The version that gave every answer of the last 2 seconds, if one did."""
        return next(iter(self.answering)) if len(self.answering) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Everything at one moment; messages in order of arrival."""

    adapters: Mapping[str, Seen] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    canaries: tuple[Canary, ...] = ()

    def about(self, subject: str) -> list[Message]:
        """Messages about ``adapter@version``."""
        return [message for message in self.messages if message.subject == subject]

    @property
    def generations(self) -> dict[str, int]:
        """Route generation of each adapter."""
        return {
            name: seen.state.route.generation
            for name, seen in self.adapters.items()
            if seen.state.route is not None
        }


class Lookout:
    """Looks at everything; raises when something that must run does not."""

    def __init__(
        self,
        *,
        processes: Processes,
        traffic: Traffic,
        receiver: Receiver,
        client: DriftlineClient,
    ) -> None:
        self._processes = processes
        self._traffic = traffic
        self._receiver = receiver
        self._client = client

    def look(self) -> Sight:
        """See everything; raises ProcessFailedError, RuntimeError or httpx2.HTTPError."""
        self._processes.require_alive()
        if self._traffic.failure is not None:
            raise RuntimeError("the traffic stopped") from self._traffic.failure
        tally = self._traffic.tally
        return Sight(
            adapters={
                name: Seen(
                    state=self._client.adapter(name),
                    rate=tally.rate(name),
                    answering=tally.recent(name, seconds=2.0),
                )
                for name in IN_CHARGE
            },
            messages=self._receiver.messages,
            canaries=self._client.canaries(),
        )
