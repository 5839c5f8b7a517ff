"""Look at all that an installation needs, one part after the other, and say what to do."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.channels import open_channel, reach_receiver
from alerts.outgoing import Blocked, ConnectFailed, OutgoingClient, OutgoingError
from monitor import tracing
from monitor.addresses import IN_CLUSTER, EndpointsWanted
from monitor.config.channels import ChannelEntry
from monitor.config.corpora import read_corpora
from monitor.config.routing import engine_headers, inside_of, own_settings
from monitor.config.sections import Config
from monitor.daemon.backups import KEY_FILES
from monitor.daemon.database import (
    ROLES_PAGE,
    UnsupportedServer,
    served_database,
    standby_database,
)
from monitor.daemon.parts import embedder_of, oidc_of
from monitor.engine_addresses import NO_ADDRESS, EngineAddresses
from monitor.kubernetes import Cluster, ClusterError, EndpointWatch
from monitor.postgres import PostgresError
from monitor.postgres.process import live_postmaster
from monitor.probes.cards import list_models
from monitor.probes.errors import ModelMissing, ProbeError, ProbeFailed
from monitor.probes.models import is_local, locate
from monitor.store import roles, schema, standby
from monitor.store.database import Database
from monitor.store.traffic import flags
from monitor.traffic.killswitch import FILE as KILL_SWITCH

LEAST_FREE: Final = 2 << 30
"""Bytes; a thousand adapters write less than that in a day."""
MOST_APART_S: Final = 2.0
"""Seconds between two clocks, beyond which times in messages and records disagree."""
ENGINES_AT_ONCE: Final = 8
ANSWER_S: Final = 10.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_EVERYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""Addresses to listen at, and those to ask instead."""


class Health(StrEnum):
    """The state of a part."""

    FINE = "fine"
    NOTE = "note"
    """It works, and something is left out or better otherwise."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A part's health, the finding in words, and advice; empty: there is nothing to do."""

    part: str
    health: Health
    found: str
    advice: str = ""


def checkup(config: Config) -> Iterator[Diagnosis]:
    """Yield a diagnosis as soon as it is made; a part that is at fault hides no other.

    Writes nothing, loads no model, sends no message, and starts no embedded database.
    """
    looks: dict[str, Callable[[Config], Iterator[Diagnosis]]] = {
        "data folder": _folder,
        "database": _database,
        "standby": _standby,
        "corpora": _corpora,
        "engines": _engines,
        "encoder": _encoder,
        "channels": _channels,
        "login": _login,
        "traces": _traces,
        "service": _service,
        "gateway": _gateway,
    }
    for part, look in looks.items():
        try:
            yield from look(config)
        except OSError as error:
            yield _fault(part, f"{error.filename or 'the system'}: {error.strerror or error}")


def _fine(part: str, found: str, advice: str = "") -> Diagnosis:
    return Diagnosis(part=part, health=Health.FINE, found=found, advice=advice)


def _note(part: str, found: str, advice: str = "") -> Diagnosis:
    return Diagnosis(part=part, health=Health.NOTE, found=found, advice=advice)


def _fault(part: str, found: str, advice: str = "") -> Diagnosis:
    return Diagnosis(part=part, health=Health.FAULT, found=found, advice=advice)


def _folder(config: Config) -> Iterator[Diagnosis]:
    part, folder = "data folder", config.service.data_dir.absolute()
    if not folder.exists():
        yield _note(part, f"{folder}: the first start makes it")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        owner = folder.stat().st_uid
        yield _fault(
            part,
            f"this account may not write {folder}",
            f"run as the account that owns it (uid {owner})",
        )
        return
    if folder.stat().st_mode & _OTHERS_WRITE:
        yield _fault(part, f"other accounts may write {folder}", f"chmod go-w {folder}")
    for key in (folder / name for name in KEY_FILES):
        if key.exists() and key.stat().st_mode & _OTHERS:
            yield _fault(part, f"other accounts may read {key}", f"chmod 600 {key}")
    if (folder / KILL_SWITCH).exists():
        yield _note(
            "kill switch",
            "on by a file: nothing moves traffic by itself",
            f"remove {folder / KILL_SWITCH}",
        )
    free = shutil.disk_usage(folder).free
    told = f"{folder}: {free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE:
        yield _fault(part, told, "make room, or lower capture.retention")
    else:
        yield _fine(part, told)


# --- database -------------------------------------------------------------------------------


def _database(config: Config) -> Iterator[Diagnosis]:
    part = "database"
    if not config.database.url:
        cluster = config.service.data_dir / "postgres" / "cluster"
        if not cluster.exists():
            yield _note(part, "embedded: the first start makes it")
            return
        if live_postmaster(cluster) is None:
            yield _note(part, "embedded, and stopped: it is looked at while the service runs")
            return
    try:
        with served_database(config) as database:
            for look in (_server, _schema, _clock, _connections, _rights, _switch):
                yield from _asked(database, partial(look, config=config))
    except (PostgresError, UnsupportedServer) as error:
        yield _fault(part, str(error))
    except sa.exc.SQLAlchemyError as error:
        yield _unreached(part, "database.url", error)


def _asked(
    database: Database, look: Callable[[Connection], Diagnosis | None]
) -> Iterator[Diagnosis]:
    """Look in a transaction of its own, so that one that fails hides no other."""
    try:
        found = database.run(look)
    except sa.exc.ProgrammingError as error:
        yield _fault("database", _reason(error))
    else:
        if found is not None:
            yield found


def _unreached(part: str, key: str, error: sa.exc.SQLAlchemyError) -> Diagnosis:
    """Say why a server is not used, and whether its certificate is the reason."""
    advice = f"check {key}, and that the server runs and lets this machine in"
    if "certificate" in (reason := _reason(error)):
        advice = f"in {key}, name the host of its certificate, and its authority by sslrootcert"
    return _fault(part, reason, advice)


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]


def _server(tx: Connection, *, config: Config) -> Diagnosis:
    version = tx.execute(sa.text("SHOW server_version")).scalar_one()
    return _fine("database", f"PostgreSQL {version}{'' if config.database.url else ', embedded'}")


def _schema(tx: Connection, *, config: Config) -> Diagnosis:
    del config
    part, revision = "schema", schema.revision(tx)
    if revision == schema.HEAD:
        return _fine(part, f"{revision}, as this release")
    if revision is None:
        return _note(part, "none yet: the first start makes it")
    told = f"{revision}, and this release needs {schema.HEAD}"
    if revision < schema.FIRST:
        return _fault(part, told, "give it an empty database: docs/operations.md, Upgrades")
    newer = revision > schema.HEAD
    return _fault(part, told, "run that release or a later one" if newer else "driftline migrate")


def _clock(tx: Connection, *, config: Config) -> Diagnosis:
    del config
    before = datetime.now(UTC)
    there: datetime = tx.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.now(UTC)
    apart = max((before - there).total_seconds(), (there - after).total_seconds())
    if apart <= MOST_APART_S:
        return _fine("clock", "the database's agrees with this machine's")
    told = f"the database's differs from this machine's by {apart:.0f} s"
    return _fault("clock", told, "let both follow a time server")


def _connections(tx: Connection, *, config: Config) -> Diagnosis:
    used, most, reserved = tx.execute(_CONNECTIONS).one()
    takes = 2 * config.database.pool_size  # the pool may overflow by its own size
    told = f"{used} of {most} in use; each process of the service takes up to {takes}"
    if most - reserved - used < takes:
        advice = "raise max_connections, or lower database.pool_size"
        return _note("connections", told, advice)
    return _fine("connections", told)


_CONNECTIONS: Final = sa.text(
    "SELECT (SELECT sum(numbackends)::int FROM pg_stat_database),"
    " current_setting('max_connections')::int,"
    " current_setting('superuser_reserved_connections')::int"
    " + coalesce(current_setting('reserved_connections', true)::int, 0)"
)


def _rights(tx: Connection, *, config: Config) -> Diagnosis | None:
    """Look at the rights of the service's role; the embedded server's are its own."""
    if not config.database.url or not schema.at_head(tx):
        return None
    role = tx.execute(sa.text("SELECT current_user")).scalar_one()
    if roles.lacking(tx, role):
        return _fault("rights", f"the role {role} lacks some", "driftline migrate grants them")
    if (excess := roles.excess(tx)) is not None:
        return _note("rights", excess, f"see {ROLES_PAGE}")
    return _fine("rights", f"the role {role} has what it needs, and no more")


def _switch(tx: Connection, *, config: Config) -> Diagnosis | None:
    del config
    if not schema.at_head(tx):
        return None
    flag = flags.kill_switch(tx)
    if flag is None or not flag.on:
        return None
    return _note(
        "kill switch",
        f"on by {flag.actor}: nothing moves traffic by itself ({flag.reason})",
        "PUT /v1/kill-switch takes it back",
    )


def _standby(config: Config) -> Iterator[Diagnosis]:
    part = "standby"
    if not config.database.standby_url:
        return
    try:
        with standby_database(config) as database:
            yield database.run(_following)
    except UnsupportedServer as error:
        yield _fault(part, str(error))
    except sa.exc.SQLAlchemyError as error:
        yield _unreached(part, "database.standby_url", error)


def _following(tx: Connection) -> Diagnosis:
    """Look at a standby as the service does before it reads pages there."""
    part = "standby"
    if not tx.execute(sa.text("SELECT pg_is_in_recovery()")).scalar_one():
        advice = "let database.standby_url name one that follows the server of database.url"
        return _fault(part, "it is no standby, so pages are read from the primary", advice)
    late = standby.behind(tx) if schema.at_head(tx) else None
    if late is None:
        return _note(part, "it has nothing of the service yet: pages are read from the primary")
    told = f"what the service wrote last is {late.total_seconds():.0f} s old there"
    if late > standby.MOST_BEHIND:
        advice = "unless the service is stopped, it is behind: pages are read from the primary"
        return _note(part, told, advice)
    return _fine(part, told)


# --- models ---------------------------------------------------------------------------------


def _corpora(config: Config) -> Iterator[Diagnosis]:
    for key, problem in read_corpora(config).problems.items():
        yield _fault("corpora", f"{key}: {problem}")


def _engines(config: Config) -> Iterator[Diagnosis]:
    part, written = "engines", (*config.serving.engines, *config.gateway.upstreams)
    written += getattr(own_settings(config.routing), "engines", ())
    if not written:
        yield _note(
            part,
            "none is named, so nobody sees whether adapters are applied",
            "name them in serving.engines",
        )
        return
    addresses: dict[str, None] = {}
    for one in dict.fromkeys(written):
        try:
            found = EngineAddresses(_endpoints(one)).now()
        except ClusterError as error:
            yield _fault("cluster", f"{one}: {error}", _ACCOUNT)
            continue
        if one.startswith(IN_CLUSTER):
            told = f"the service account may follow its endpoints, {len(found)} ready"
            yield _fine("cluster", f"{one}: {told}")
        if not found:
            yield _fault(part, f"{one}: {NO_ADDRESS}")
        addresses |= dict.fromkeys(found)
    with ThreadPoolExecutor(ENGINES_AT_ONCE) as pool:
        yield from pool.map(partial(_engine, config=config), addresses)


def _endpoints(written: str) -> Sequence[str]:
    """Ask the cluster for its ready endpoints, once, as this process's service account may."""
    if not written.startswith(IN_CLUSTER):
        return [written]
    return EndpointWatch(EndpointsWanted.of(written), Cluster.around(os.environ)).look()


_ACCOUNT: Final = (
    "run in a pod whose service account may list and watch endpointslices:"
    " docs/connecting/vllm.md#replicas-that-come-and-go"
)


def _engine(address: str, *, config: Config) -> Diagnosis:
    try:
        cards = list_models(address, http=inside_of(config), headers=engine_headers(config))
    except ProbeFailed as error:
        return _fault("engines", f"{address}: {error}")
    adapters = sum(card.parent is not None for card in cards)
    return _fine(
        "engines",
        f"{address}: {len(cards)} models" + (f", {adapters} of them adapters" if adapters else ""),
    )


def _encoder(config: Config) -> Iterator[Diagnosis]:
    """Look whether the model's files are here, or ask its endpoint; no model is loaded."""
    part, chosen = "encoder", config.probes.embedding
    if not config.capture.embed_prompts:
        yield _note(part, "off, so new topics are not seen", "set capture.embed_prompts")
        return
    if chosen.url:
        yield _remote_encoder(config)
        return
    if not is_local(chosen.model):
        yield _fine(part, f"{chosen.model}, from the hub's cache or the hub")
        return
    try:
        yield _fine(part, f"{chosen.model}: its files are in {locate(chosen.model)}")
    except ModelMissing as error:
        yield _fault(part, str(error))


def _remote_encoder(config: Config) -> Diagnosis:
    client = embedder_of(config)
    try:
        vectors = client.embed(["Is this encoder at hand?"])
    except ProbeError as error:
        return _fault("encoder", f"{config.probes.embedding.url}: {error}")
    finally:
        client.close()
    return _fine("encoder", f"{config.probes.embedding.url}: {vectors.shape[1]} numbers a text")


# --- people and processes -------------------------------------------------------------------


def _channels(config: Config) -> Iterator[Diagnosis]:
    if not config.channels:
        advice = "add one under [channels]"
        yield _note("channels", "none, so nobody is told of anything", advice)
        return
    client = OutgoingClient(config.outgoing)
    with ThreadPoolExecutor(len(config.channels)) as pool:  # all wait for the network alone
        yield from pool.map(partial(_channel, client=client), config.channels)


def _channel(entry: ChannelEntry, *, client: OutgoingClient) -> Diagnosis:
    """Open a channel, and a connection to its receiver, over which nothing is sent."""
    part, named = "channels", f"{entry.name} ({entry.kind})"
    try:
        open_channel(entry.kind, entry.options, client=client)
        reached = reach_receiver(entry.kind, entry.options, client=client, timeout=ANSWER_S)
    except ValueError as error:
        return _fault(part, f"{entry.name}: {error}")
    except OutgoingError as error:
        return _fault(part, f"{named}: {error}", _way_out(error))
    told = "it writes on this machine" if reached is None else f"{reached} is reached"
    tried = f"`driftline channels test {entry.name}` sends it a message"
    return _fine(part, f"{named}: {told}", tried)


def _way_out(error: OutgoingError) -> str:
    """Say what lets a connection be made."""
    if isinstance(error, Blocked):
        return "outgoing.allow lists the private networks that may be reached"
    if "certificate" in str(error):
        return "outgoing.ca_file names the authorities to trust instead of the system's"
    return "let this machine resolve its name and reach its port: name server, firewall, policy"


def _login(config: Config) -> Iterator[Diagnosis]:
    """Ask the provider of logins for what it says of itself."""
    provider = oidc_of(config, clock=lambda: datetime.now(UTC))
    if provider is None:
        return
    from monitor.oidc.login import LoginRefused  # noqa: PLC0415 (brings cryptography)

    part, issuer = "login", config.oidc.issuer
    try:
        provider.begin()
    except LoginRefused as error:
        advice = "let this machine reach it, and oidc.issuer be exactly what it calls itself"
        yield _fault(part, f"{issuer}: {error}", advice)
    else:
        yield _fine(part, f"{issuer} says how people log in")


def _traces(config: Config) -> Iterator[Diagnosis]:
    """Look for the extra, and open a connection to the collector, over which nothing is sent."""
    part, url = "traces", config.service.traces
    if not url:
        return
    try:
        tracing.load()
        inside_of(config).reach(url, timeout=ANSWER_S)
    except tracing.TracesMissing as error:
        yield _fault(part, str(error))
    except OutgoingError as error:
        yield _fault(part, f"{url}: {error}", _way_out(error))
    else:
        yield _fine(part, f"{url} is reached")


def _service(config: Config) -> Iterator[Diagnosis]:
    """Ask the service; that it does not run is a fault once it has run here."""
    begun = (config.service.data_dir / KEY_FILES[0]).exists()
    yield from _process(
        "service",
        _url(config.server.host, config.server.port),
        config,
        absent=lambda told: (_fault if begun else _note)("service", told, "driftline serve"),
    )


def _gateway(config: Config) -> Iterator[Diagnosis]:
    if config.gateway.upstreams or config.serving.engines:
        yield from _process(
            "gateway",
            _url(config.gateway.host, config.gateway.port),
            config,
            absent=lambda told: _note("gateway", told, "driftline gateway"),
        )


def _url(host: str, port: int) -> str:
    """Return where to ask a process that listens there.

    >>> _url("0.0.0.0", 8440), _url("fd00::7", 8440)
    ('http://127.0.0.1:8440', 'http://[fd00::7]:8440')
    """
    named = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def _process(
    part: str, url: str, config: Config, *, absent: Callable[[str], Diagnosis]
) -> Iterator[Diagnosis]:
    """Ask a process whether it is ready, and what it warns of."""
    try:
        reply = inside_of(config).get(f"{url}/readyz", timeout=ANSWER_S)
    except ConnectFailed:
        yield absent(f"none answers at {url}")
        return
    except OutgoingError as error:
        yield _fault(part, f"{url}: {error}")
        return
    said = _said(reply.body_start)
    if reply.status == HTTPStatus.OK:
        yield _fine(part, f"{url} is ready")
        for warning in said.get("warnings", ()):
            yield _note(part, str(warning))
        return
    reasons: Sequence[Any] = said.get("reasons", ())
    yield _fault(part, f"{url}: {'; '.join(map(str, reasons)) or f'HTTP {reply.status}'}")


def _said(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
