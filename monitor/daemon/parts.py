"""Parts built from their sections of the config."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection

from alerts.channels import CHANNELS, open_channel
from alerts.outgoing import OutgoingClient
from detectors.types import Budget
from monitor.capture.subjects import load_key
from monitor.config.corpora import Corpora, read_corpora
from monitor.config.routing import engine_headers, inside_of, own_settings, reach_of
from monitor.config.sections import Config
from monitor.evaluate.retraining import Retrainings
from monitor.incident.smoke import SmokeTest
from monitor.oidc.settings import BACK
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.linking import PageLinks, chart_key
from monitor.policy.budget import ShareStanding, shares
from monitor.probes.asking import ModelProbe
from monitor.probes.corpus import Corpus, CorpusInvalid, Document
from monitor.probes.embedding import EmbeddingClient
from monitor.probes.local import LocalProbe
from monitor.probes.prompt_logprobs import PerplexitySource
from monitor.probes.restraint import Restraint
from monitor.probes.serving import Engines, ServedProbe
from monitor.probes.smoke import Questioner
from monitor.reference.milestone import MilestoneRules
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.registry import adapters, admissions
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.changes import FallbackChanges
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.proof import Proof
from monitor.traffic.readback import Confirming
from monitor.traffic.routers import TracedRouter, open_router
from monitor.traffic.routers.contract import Router

if TYPE_CHECKING:
    from monitor.oidc.login import Oidc

_LOG = structlog.get_logger(__name__)


def channels_of(config: Config) -> list[ConfiguredChannel]:
    """Open every configured channel; without one, messages go to the log."""
    client = OutgoingClient(config.outgoing)
    return [
        ConfiguredChannel(
            name=entry.name,
            channel=open_channel(entry.kind, entry.options, client=client),
            matcher=entry.matcher,
            fallback=entry.fallback,
            pace=CHANNELS[entry.kind].pace,
            manner=config.alerting.grouping.manner(
                entry.groups,
                acknowledges=CHANNELS[entry.kind].acknowledges,
                unacknowledged_for=entry.unacknowledged_for,
            ),
        )
        for entry in config.channels
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The models that can be asked; ``probe`` None: neither an engine nor a local base is named."""

    engines: Engines
    probe: ModelProbe | None

    def close(self) -> None:
        """End the process of local models, if one runs."""
        if isinstance(self.probe, LocalProbe):
            self.probe.close()


def serving_of(config: Config) -> Serving:
    """Build the client side of serving, allowed to reach private networks."""
    http, headers = inside_of(config), engine_headers(config)
    perplexity = config.probes.perplexity
    engines = Engines(
        config.serving.engines, http, headers=headers, restraint=Restraint(share=perplexity.budget)
    )
    if perplexity.source is PerplexitySource.LOCAL:
        return Serving(engines=engines, probe=_local(config))
    if not config.serving.engines:
        return Serving(engines=engines, probe=None)
    corpora = read_corpora(config)
    return Serving(
        engines=engines,
        probe=ServedProbe(
            general=_general(corpora),
            domain=corpora.domain,
            domains=corpora.domains,
            engines=engines,
            http=http,
            settings=replace(perplexity.settings, headers=headers),
        ),
    )


def _local(config: Config) -> LocalProbe:
    corpora = read_corpora(config)
    return LocalProbe(
        config.probes.perplexity.local,
        _general(corpora),
        domain=corpora.domain,
        domains=corpora.domains,
    )


def smoke_test_of(config: Config, engines: Engines) -> SmokeTest:
    """Build the smoke test that people run on an adapter's models from an incident."""
    corpora = read_corpora(config)
    questioner = Questioner(engines=engines, http=inside_of(config), headers=engine_headers(config))
    return SmokeTest(
        questioner=questioner if config.serving.engines else None,
        prompts={name: _prompts(found) for name, found in corpora.smoke.items()},
        default=_prompts(corpora.smoke_default),
    )


def _prompts(found: Corpus | None) -> tuple[Document, ...]:
    return () if found is None else found.documents


def _general(corpora: Corpora) -> Corpus:
    """Return the corpus of every adapter; an adapter whose own is unusable does without it."""
    if corpora.general is None:
        raise CorpusInvalid(corpora.problems["probes.perplexity.corpus"])
    for key, problem in corpora.problems.items():
        _LOG.warning("corpus_unusable", key=key, reason=problem)
    return corpora.general


def embedder_of(config: Config) -> EmbeddingClient:
    """Build the embedding probe; its process starts with the first text."""
    return EmbeddingClient(config.probes.embedding)


def router_of(config: Config, database: Database) -> Router:
    """Open the router that carries routes out."""
    chosen = config.routing
    router = open_router(
        chosen.router, own_settings(chosen), reach=reach_of(config), database=database
    )
    return TracedRouter(router, kind=chosen.router) if config.service.traces else router


def breaker_of(config: Config, database: Database, proof: Proof) -> Breaker:
    """Build the breaker that moves traffic."""
    changes = FallbackChanges(settings=config.routing)
    return Breaker(
        database=database,
        settings=config.routing,
        mode=config.service.mode,
        kill_switch=kill_switch_of(config),
        changes=changes,
        confirm=Confirming(database=database, router=proof.router, log=changes).confirm,
        served=proof.served,
    )


def oidc_of(config: Config, *, clock: Callable[[], datetime]) -> Oidc | None:
    """Build the logins by a provider; None: people log in with keys alone."""
    if not config.oidc.issuer:
        return None
    from monitor.oidc.login import Oidc  # noqa: PLC0415 (brings cryptography)

    back = f"{config.server.url.rstrip('/')}{BACK}"
    return Oidc(config.oidc, client=inside_of(config), back=back, clock=clock)


def kill_switch_of(config: Config) -> KillSwitch:
    """Build the switch that stops every automatic action."""
    return KillSwitch(config.service.data_dir, os.environ)


def pages_of(config: Config) -> PageLinks:
    """Return the address in messages; every process signs links to images with the same key."""
    shared = load_key(config.service.data_dir / "subject.key")
    return PageLinks(base_url=config.server.url, key=chart_key(shared))


def milestones_of(config: Config) -> MilestoneRules:
    """Return the rules of automatic references; their forecast has no share of pages."""
    evaluation = config.evaluation
    divided = shares(
        evaluation.budget, ShareStanding.among("", of=1), detectors=evaluation.detectors
    ).values()
    return MilestoneRules(
        days=config.day_effect,
        auto=config.reference.auto,
        learned=config.reference.learned,
        share=Budget(notice=min((one.notice for one in divided), default=0.0), page=0.0),
    )


def retrainings_of(config: Config, database: Database) -> Retrainings:
    """Build the part that requests retraining, automatically or for a person."""
    return Retrainings(
        database=database,
        settings=config.retrain,
        words=config.alerting.shown_examples > 0,
        base_url=config.server.url,
        clock=lambda: database.run(clock.now),
    )


def declare_adapters(config: Config, database: Database) -> None:
    """Write ``[adapters.NAME]`` to the registry; the config wins over earlier PUTs.

    Whether admission is required is written down too: every process holds to it.
    """

    def work(tx: Connection) -> None:
        admissions.require(tx, on=config.admission.required)
        for name, section in config.adapters.items():
            adapters.put(
                tx,
                name=name,
                owner=section.owner,
                tier=section.tier,
                labels=section.labels,
                runbook=section.runbook,
                mode=section.mode,
            )

    database.run(work)
