"""Find contradictions between keys, each named by its path."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from alerts.outgoing import OutgoingClient, OutgoingError
from detectors.feedback import FEEDBACK
from monitor.addresses import is_web_address
from monitor.config import addresses, grouping, probes, routing
from monitor.config.database import database_problems
from monitor.config.sections import LONGEST, Config, FeedbackSection

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def contradictions(config: Config) -> list[str]:
    """List the problems that no single section can see, each by its path."""
    if unusable := _outgoing_problems(config):
        return unusable  # other checks ask by it whether an address may be reached
    schedule = config.schedule
    positive = ("tick", "hard_interval", "live_interval", "perplexity_interval", "lease")
    found = [
        f"schedule.{name}: must be longer than 0"
        for name in positive
        if getattr(schedule, name) <= timedelta()
    ]
    if schedule.selftest_interval < timedelta():
        found.append('schedule.selftest_interval: must be 0 or longer; "0s": only when asked')
    if schedule.renew * 2 > schedule.lease:
        found.append("schedule.renew: must be at most half of schedule.lease")
    found += database_problems(config.database)
    found += addresses.service_problems(config.service)
    found += addresses.server_problems(config.server)
    found += addresses.serving_problems(config.serving)
    found += addresses.embedding_problems(config.probes.embedding.url)
    found += addresses.gateway_problems(config.gateway)
    found += _runbook_problems(config)
    found += probes.contradictions(config.probes.perplexity)
    found += [f"reference.learned.{problem}" for problem in config.reference.learned.problems]
    found += [f"capture.{problem}" for problem in config.capture.problems]
    found += grouping.contradictions(config.alerting.grouping)
    found += _heartbeat_contradictions(config)
    found += routing.contradictions(config)
    found += [f"artifacts.{problem}" for problem in config.artifacts.problems]
    found += [f"canary.{problem}" for problem in config.canary.problems]
    found += [f"admission.{problem}" for problem in config.admission.problems]
    found += _oidc_problems(config)
    if config.service.log_level not in LOG_LEVELS:
        known = ", ".join(LOG_LEVELS)
        found.append(f"service.log_level: {config.service.log_level!r} is not one of {known}")
    if not 0 < config.probes.perplexity.budget <= 1:
        found.append("probes.perplexity.budget: must be above 0 and at most 1")
    found += _retrain_contradictions(config)
    if not 0 <= config.detectors.assumed_day_effect <= 1:
        found.append("detectors.assumed_day_effect: must be from 0 to 1")
    if not config.evaluation.detectors:
        found.append("detectors: every detector is switched off")
    found += [
        f"alerting.{key}: must be a number from 0 on"
        for key in ("false_pages_per_30_days", "notices_per_30_days")
        if not 0 <= getattr(config.alerting, key) < math.inf
    ]
    found += _budget_contradictions(config)
    found += _feedback_contradictions(config)
    if config.alerting.shown_examples and not config.capture.store_text:
        found.append("alerting.shown_examples: needs capture.store_text = true")
    return found


def _outgoing_problems(config: Config) -> list[str]:
    try:
        OutgoingClient(config.outgoing)
    except OSError as error:
        return [f"outgoing.ca_file: {config.outgoing.ca_file}: {error.strerror or error}"]
    except ValueError as error:
        return [f"outgoing.allow: {error}"]
    return []


def _oidc_problems(config: Config) -> list[str]:
    found = [f"oidc.{problem}" for problem in config.oidc.problems]
    if config.oidc.issuer and not config.server.public_url:
        found.append("oidc.issuer: the provider sends people back to server.public_url: name it")
    return found


def _heartbeat_contradictions(config: Config) -> list[str]:
    heartbeat = config.alerting.heartbeat
    if not heartbeat.url:
        return []
    found = [
        f"alerting.heartbeat.{name}: must be longer than 0"
        for name in ("every", "oldest")
        if getattr(heartbeat, name) <= timedelta()
    ]
    try:
        OutgoingClient(config.outgoing).check(heartbeat.url)
    except OutgoingError as error:
        found.append(f"alerting.heartbeat.url: {error}")
    return found


def _feedback_contradictions(config: Config) -> list[str]:
    section = config.detectors.by_name.get(FEEDBACK.name)
    named = {f"adapters.{name}.feedback": own.feedback for name, own in config.adapters.items()}
    named |= {"defaults.feedback": config.defaults.feedback}
    if isinstance(section, FeedbackSection):
        named |= {"detectors.feedback": section.directions}
    found = []
    for where, directions in named.items():
        names = [] if directions is None else [*directions.higher_is_better]
        names += [] if directions is None else directions.lower_is_better
        found += [
            f"{where}: {name!r:.60} stands twice; it can be better in one direction only"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        found += [
            f"{where}: {name!r:.60}: a name has 1 to {LONGEST} printable characters, none a colon"
            for name in names
            if not (name.isprintable() and 0 < len(name) <= LONGEST and ":" not in name)
        ]
    return found


def _retrain_contradictions(config: Config) -> list[str]:
    known = {channel.name for channel in config.channels}
    return [
        f"retrain.channels: no channel {name!r:.60}; known: {', '.join(sorted(known)) or 'none'}"
        for name in config.retrain.channels
        if name not in known
    ]


def _runbook_problems(config: Config) -> list[str]:
    named = {f"adapters.{name}": own.runbook for name, own in config.adapters.items()}
    return [
        f"{where}.runbook: expected an address that begins with https:// or http://"
        for where, runbook in (named | {"defaults": config.defaults.runbook}).items()
        if runbook is not None and not is_web_address(runbook)
    ]


def _budget_contradictions(config: Config) -> list[str]:
    found = [
        f"adapters.{name}.notices_per_30_days: must be a number from 0 on"
        for name, own in config.adapters.items()
        if not 0 <= (own.notices_per_30_days or 0.0) < math.inf
    ]
    together = 0.0
    for name, tier in config.alerting.tiers.items():
        where = f"alerting.tiers.{name}"
        if tier.weight is not None and not 0 < tier.weight < math.inf:
            found.append(f"{where}.weight: must be above 0 and finite")
        if tier.weight is not None and tier.false_pages_per_30_days is not None:
            found.append(f"{where}: weight and false_pages_per_30_days exclude each other")
        if not 0 <= (tier.false_pages_per_30_days or 0.0) < math.inf:
            found.append(f"{where}.false_pages_per_30_days: must be a number from 0 on")
        together += max(0.0, tier.false_pages_per_30_days or 0.0)
    if together > max(0.0, config.alerting.false_pages_per_30_days):
        found.append(
            f"alerting.tiers: {together:g} false pages are set aside for tiers, the fleet accepts"
            f" {config.alerting.false_pages_per_30_days:g}"
        )
    return found
