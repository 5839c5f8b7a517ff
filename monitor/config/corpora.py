"""Read the configured corpora: one for all adapters, and each adapter's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from monitor.config.sections import Config
from monitor.probes.corpus import Corpus, CorpusInvalid, CorpusRole, load_corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """The readable corpora, and the problems of the others.

    general, domain
        Of every adapter; None if there is none or it is unusable.
    domains
        Of the adapters that the config names.
    smoke, smoke_default
        Prompts of the adapters that the config names, and of all others.
    problems
        Unusable files, by the key that names them; a bad file affects no other adapter.
    """

    general: Corpus | None
    domain: Corpus | None
    domains: Mapping[str, Corpus | None]
    smoke: Mapping[str, Corpus | None]
    smoke_default: Corpus | None
    problems: Mapping[str, str]


def read_corpora(config: Config) -> Corpora:
    """Read every corpus file of the config once."""
    problems: dict[str, str] = {}
    load = cache(_domain)

    def own(path: str, *, key: str) -> Corpus | None:
        return _read(lambda: load(path) if path else None, key=key, problems=problems)

    named = config.probes.perplexity.corpus
    return Corpora(
        general=_read(
            lambda: load_corpus(Path(named).expanduser() if named else None),
            key="probes.perplexity.corpus",
            problems=problems,
        ),
        domain=own(config.defaults.corpus, key="defaults.corpus"),
        domains={
            name: own(section.corpus, key=f"adapters.{name}.corpus")
            for name, section in config.adapters.items()
        },
        smoke={
            name: own(section.smoke_prompts, key=f"adapters.{name}.smoke_prompts")
            for name, section in config.adapters.items()
        },
        smoke_default=own(config.defaults.smoke_prompts, key="defaults.smoke_prompts"),
        problems=problems,
    )


def _domain(path: str) -> Corpus:
    return load_corpus(Path(path).expanduser(), role=CorpusRole.DOMAIN)


def _read(
    load: Callable[[], Corpus | None], *, key: str, problems: dict[str, str]
) -> Corpus | None:
    try:
        return load()
    except CorpusInvalid as error:
        problems[key] = str(error)
        return None
