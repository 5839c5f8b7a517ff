"""Read the sections of the config that adapters' files need, and open what they name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from alerts.addresses import PRIVATE_NETWORKS
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.finding import Artifacts
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import AdapterStore, open_store
from monitor.config.parts import read_part, refuse

FOLDER: Final = "adapters"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPart:
    """The sections that adapters' files need."""

    outgoing: OutgoingPolicy = field(default_factory=OutgoingPolicy)
    artifacts: ArtifactSettings = field(default_factory=ArtifactSettings)

    @property
    def store(self) -> AdapterStore | None:
        """The store that is configured."""
        return store_of(self.artifacts, self.outgoing)


def load_artifact_part(path: Path | None = None) -> ArtifactPart:
    """Read the sections that adapters' files need; raises ConfigError."""
    part = read_part(path, ArtifactPart)
    refuse([f"artifacts.{problem}" for problem in part.artifacts.problems])
    return part


def artifacts_of(
    settings: ArtifactSettings, outgoing: OutgoingPolicy, *, data_dir: Path
) -> Artifacts:
    """Return what finds and fetches adapters' files."""
    folder = Path(settings.cache).expanduser() if settings.cache else data_dir / FOLDER
    cache = ArtifactCache(folder.absolute(), most_bytes=settings.cache_bytes)
    return Artifacts(settings, cache, store_of(settings, outgoing))


def store_of(settings: ArtifactSettings, outgoing: OutgoingPolicy) -> AdapterStore | None:
    """Return the store; the operator wrote its address, which may be of a private network."""
    allowed = replace(outgoing, allow=(*outgoing.allow, *PRIVATE_NETWORKS))
    return open_store(settings, OutgoingClient(allowed))
