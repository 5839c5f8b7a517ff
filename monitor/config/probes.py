"""The sections of the code that runs or asks models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from monitor.probes.embedding import Dtype, EmbeddingSettings
from monitor.probes.local.settings import Device, LocalSettings
from monitor.probes.perplexity import PerplexitySettings
from monitor.probes.prompt_logprobs import PerplexitySource
from monitor.probes.share import SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexitySection:
    """How and on which corpus perplexity is probed; an empty ``corpus`` is the built-in one.

    ``budget`` is the share of each engine's time that probes may take. The keys from ``base`` on
    are only for the source ``local``.
    """

    source: PerplexitySource = PerplexitySource.AUTO
    corpus: str = ""
    timeout: timedelta = timedelta(seconds=60)
    max_waiting: int = 0
    budget: float = SHARE
    base: str = ""
    device: Device = Device.AUTO
    dtype: Dtype = Dtype.AUTO
    batch_tokens: int = 2048
    loaded_adapters: int = 16
    threads: int = 1

    @property
    def local(self) -> LocalSettings:
        """The settings of models on this machine."""
        return LocalSettings(
            base=self.base,
            device=self.device,
            dtype=self.dtype,
            batch_tokens=self.batch_tokens,
            loaded_adapters=self.loaded_adapters,
            threads=self.threads,
            timeout=self.timeout,
        )

    @property
    def settings(self) -> PerplexitySettings:
        """The settings for asking an engine, without its key."""
        return PerplexitySettings(
            source=self.source, timeout=self.timeout, max_waiting=self.max_waiting
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesSection:
    """The sections of probes."""

    embedding: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    perplexity: PerplexitySection = field(default_factory=PerplexitySection)


def contradictions(section: PerplexitySection) -> Sequence[str]:
    """List the problems that no single key of the section can see."""
    found = [
        f"probes.perplexity.{name}: must be at least 1"
        for name in ("batch_tokens", "loaded_adapters", "threads")
        if getattr(section, name) < 1
    ]
    if section.source is PerplexitySource.LOCAL and not section.base:
        found.append('probes.perplexity.base: needed where source = "local"')
    return found
