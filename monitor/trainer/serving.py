"""Have engines load a new version, and see that they serve it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from alerts.outgoing import OutgoingClient, OutgoingError, redacted
from monitor.engine_addresses import NO_ADDRESS, EngineAddresses
from monitor.probes.cards import ModelCard, list_models
from monitor.probes.errors import ProbeFailed
from monitor.trainer.errors import TrainingFailed

LOADING_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerEngines:
    """The engines of ``serving.engines``; ``http`` may reach private networks."""

    addresses: EngineAddresses
    http: OutgoingClient
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def load(self, model: str, folder: Path, *, alive: Callable[[], None]) -> None:
        """Load an adapter where it is not served yet.

        Raises
        ------
        TrainingFailed
            An engine does not serve it then, or serves other files under its name.
        """
        urls = self.addresses.now()
        if not urls and not self.addresses.fixed:
            raise TrainingFailed(NO_ADDRESS)
        for url in urls:
            alive()
            card = self._card(url, model)
            said = "" if card else self._ask(url, model, folder)
            card = card or self._card(url, model)
            if card is None:
                raise TrainingFailed(
                    f"{redacted(url)} does not serve {model} (loading it was answered with {said}):"
                    " load it, and begin again; what was trained is kept"
                )
            if card.root is not None and card.root.rstrip("/") != str(folder):
                raise TrainingFailed(
                    f"{redacted(url)} serves other files under the name {model}: unload it there"
                )

    def _card(self, url: str, model: str) -> ModelCard | None:
        try:
            cards = list_models(url, http=self.http, headers=self.headers)
        except ProbeFailed as error:
            raise TrainingFailed(f"{redacted(url)}: {error.reason}") from None
        return next((card for card in cards if card.id == model), None)

    def _ask(self, url: str, model: str, folder: Path) -> str:
        try:
            reply = self.http.post(
                f"{url}/v1/load_lora_adapter",
                body=json.dumps({"lora_name": model, "lora_path": str(folder)}).encode(),
                headers={"content-type": "application/json", **self.headers},
                timeout=LOADING_S,
            )
        except OutgoingError as error:
            return str(error)
        return str(reply.status)
