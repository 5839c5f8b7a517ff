"""Show a team its own adapters and nothing of others, whatever query is run.

A key that is bound to adapters (:attr:`monitor.store.people.keys.Key.match`) reads through views. A
schema of their own has one under each table's name, with the rows of the team's adapters. A
transaction for such a key finds names there and nowhere else, so queries need not know of teams:
one that forgets them reads the team's rows, and a table without a view is not found.

Only reading is done so. What a team's key changes is looked up through the views first
(:func:`sees`). The change itself is made with every table in sight, since the brakes on actions
count those of the whole fleet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from monitor.store.tables.columns import metadata
from monitor.store.tables.incidents import incidents, silences
from monitor.store.tables.registry import adapters, changes, versions
from monitor.store.tables.retrainings import retrainings
from monitor.store.tables.traffic import actions, canaries

_LOG = structlog.get_logger(__name__)

Match = Mapping[str, Sequence[str]]
"""Accepted values of each fact of an adapter, as a key has them."""

_ADAPTERS: Final = "((SELECT current_setting('driftline.adapters')::int[])::int[])"
_VERSIONS: Final = "((SELECT current_setting('driftline.versions')::int[])::int[])"
_NAMES: Final = "((SELECT current_setting('driftline.names')::text[])::text[])"
_MATCH: Final = "(SELECT current_setting('driftline.match')::jsonb)"

_OF_ADAPTER: Final = f"adapter_id = ANY {_ADAPTERS}"
_OF_VERSION: Final = f"version_id = ANY {_VERSIONS}"
_OF_REFERENCE: Final = f'reference_id IN (SELECT id FROM "references" WHERE {_OF_VERSION})'
_OF_INCIDENT: Final = f"incident_id IN (SELECT id FROM incidents WHERE {_OF_ADAPTER})"
_OF_A_BASE_TOO: Final = f"(version_id IS NULL OR {_OF_VERSION})"
_EVERY_ROW: Final = "true"

_BY_ADAPTER: Final = (
    "versions",
    "evaluations",
    "verdicts",
    "transitions",
    "records",
    "record_tokens",
    "record_embeddings",
    "answer_embeddings",
    "record_texts",
    "terms",
    "pending_texts",
    "feedback",
    "feedback_arrivals",
    "capture_counts",
    "sampling_rates",
    "routes",
    "route_history",
    "route_failures",
    "route_refusals",
    "actions",
    "pending_decisions",
    "canaries",
    "retrainings",
)
_BY_VERSION: Final = (
    "tasks",
    "coverage_days",
    "scores",
    "latest_scores",
    "process_states",
    "increments",
    "fleet_members",
    "identity_checks",
    "weight_inspections",
    "admissions",
    "selftests",
    "reports",
    "references",
    "settings_references",
)
_BY_REFERENCE: Final = (
    "reference_items",
    "reference_vectors",
    "reference_axes",
    "reference_baselines",
    "reference_calibrations",
    "reference_bins",
)

ROWS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(_BY_ADAPTER, _OF_ADAPTER)
    | dict.fromkeys(_BY_VERSION, _OF_VERSION)
    | dict.fromkeys(_BY_REFERENCE, _OF_REFERENCE)
    | dict.fromkeys(("outbox", "held"), _OF_INCIDENT)
    | dict.fromkeys(("contexts", "flags"), _EVERY_ROW)
    | {
        "adapters": f"id = ANY {_ADAPTERS}",
        # its adapters', and those of a base that they are part of
        "incidents": f"""
            ({_OF_ADAPTER} OR adapter_id IS NULL AND id IN (
                SELECT incident_id FROM fleet_members WHERE {_OF_VERSION}))""",
        # a base model's own readings belong to every version on it
        "perplexity_runs": _OF_A_BASE_TOO,
        "perplexity_documents": (
            f"run_id IN (SELECT id FROM perplexity_runs WHERE {_OF_A_BASE_TOO})"
        ),
        "settings_calibrations": (
            f"settings_id IN (SELECT id FROM settings_references WHERE {_OF_VERSION})"
        ),
        "canary_looks": f"canary_id IN (SELECT id FROM canaries WHERE {_OF_ADAPTER})",
        "trainings": f"retraining_id IN (SELECT id FROM retrainings WHERE {_OF_ADAPTER})",
        "changes": f"(adapters IS NULL OR adapters && {_NAMES})",
        # those that can match nobody else's: by name, or by what the key is bound to
        "silences": f"""
            (coalesce("match" -> 'adapter' <@ to_jsonb({_NAMES}), false) OR NOT EXISTS (
                SELECT 1 FROM jsonb_each({_MATCH}) AS bound (fact, accepted)
                WHERE NOT coalesce(
                    CASE WHEN bound.fact IN ('adapter', 'owner', 'tier')
                        THEN "match" -> bound.fact ELSE "match" -> 'labels' -> bound.fact
                    END <@ bound.accepted, false)))""",
        # by the kind of act: an adapter may be named as an incident is written
        "audit": f"""
            CASE
                WHEN act IN ('adapter.put', 'route.changed', 'route.carried', 'route.not_carried')
                    THEN subject = ANY {_NAMES}
                WHEN starts_with(act, 'incident.')
                    THEN subject IN (
                        SELECT 'incident ' || id FROM incidents WHERE {_OF_ADAPTER})
                ELSE subject IN (
                    SELECT a.name || '@' || v.name
                    FROM versions v JOIN adapters a ON a.id = v.adapter_id
                    WHERE a.id = ANY {_ADAPTERS})
            END""",
    }
)
"""The rows of each table that a team sees."""
_OWN_MODELS: Final = f"(SELECT model FROM versions WHERE {_OF_ADAPTER})"
_SCORED: Final = f"""
    CASE WHEN details #>> '{{identity,sibling}}' IN {_OWN_MODELS} THEN details
        ELSE details #- '{{identity,sibling}}' END"""
_ANSWERED: Final = f"""
    CASE WHEN alert ->> 'answers_as' IN {_OWN_MODELS} THEN alert ELSE alert - 'answers_as' END"""
_CHECKED: Final = """
    CASE WHEN jsonb_typeof(report -> 'checks') = 'array'
        THEN jsonb_set(report, '{checks}', (
            SELECT coalesce(jsonb_agg(one #- '{details,distances}' #- '{details,alike}'), '[]')
            FROM jsonb_array_elements(report -> 'checks') AS checks (one)))
        ELSE report END"""
_CUT: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        # the adapter whose weights a probe took for this one's
        **{(table, "details"): _SCORED for table in ("scores", "latest_scores")},
        **{(table, "alert"): _ANSWERED for table in ("outbox", "held")},
        ("identity_checks", "sibling"): f"CASE WHEN sibling IN {_OWN_MODELS} THEN sibling END",
        # those that an engine serves beside it
        ("admissions", "report"): _CHECKED,
        # of a base: the member that speaks for all, by its name
        ("incidents", "state"): "CASE WHEN adapter_id IS NULL THEN state - 'lead' ELSE state END",
        ("changes", "adapters"): f"""
            CASE WHEN adapters IS NULL THEN NULL ELSE ARRAY(
                SELECT own.name FROM unnest(adapters) AS own (name) WHERE own.name = ANY {_NAMES})
            END""",
    }
)
"""The columns of which a team sees less than there is."""
UNSEEN: Final = frozenset({"keys", "route_epochs"})
"""Tables that no team's query finds."""

_DIGEST: Final = hashlib.sha256(repr((sorted(ROWS.items()), _CUT)).encode()).hexdigest()
_SCHEMA: Final = "quote_ident(current_schema() || '_team')"
_PLACE: Final = sa.text(
    f"SELECT {_SCHEMA} AS schema,"
    f" obj_description(to_regnamespace({_SCHEMA}), 'pg_namespace') AS digest,"
    " has_database_privilege(current_database(), 'CREATE') AND coalesce((SELECT"
    " pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('adapters')), false)"
    " AS creatable"
)
_OWN_CHANGE: Final = sa.text(f"SELECT 1 FROM changes WHERE id = :id AND adapters <@ {_NAMES}")
_INTO: Final = sa.text(f"SELECT set_config('search_path', {_SCHEMA}, true)")
_OUT: Final = sa.text("SET LOCAL search_path TO DEFAULT")

_SEEN: Final[ContextVar[Match | None]] = ContextVar("driftline_team", default=None)

_OWNED: Final = MappingProxyType(
    {
        "adapter": adapters.c.name,
        "incident": incidents.c.id,
        "canary": canaries.c.id,
        "action": actions.c.id,
        "retraining": retrainings.c.id,
        "silence": silences.c.id,
        "change": changes.c.id,
    }
)
"""By the kind of thing that can be named, the column with its name or number."""
OWNED: Final = frozenset(_OWNED)


def ensure(tx: Connection) -> bool:
    """As the owner of the tables, make the views as this release says; False: no right to.

    They are left alone where they are so already.
    """
    place = tx.execute(_PLACE).one()
    if place.digest == _DIGEST:
        return True
    if not place.creatable:
        _LOG.info("teams_have_no_views", needs="the right CREATE on the database")
        return False
    drop(tx)
    tx.exec_driver_sql(f"CREATE SCHEMA {place.schema}")
    for table, rows in ROWS.items():
        made = f'SELECT {_columns(table)} FROM "{table}" WHERE {rows}'
        tx.exec_driver_sql(f'CREATE VIEW {place.schema}."{table}" AS {made}')
    tx.exec_driver_sql(f"COMMENT ON SCHEMA {place.schema} IS '{_DIGEST}'")
    return True


def _columns(table: str) -> str:
    """Write a table's columns, in its order, some cut to what is the team's."""
    named = [(one.name, _CUT.get((table, one.name))) for one in metadata.tables[table].columns]
    return ", ".join(f'{cut} AS "{name}"' if cut else f'"{name}"' for name, cut in named)


def ready(tx: Connection) -> bool:
    """True if there are views, so that a team's key can read."""
    return tx.execute(_PLACE).one().digest is not None


def schema(tx: Connection) -> str:
    """Return the name of the views' schema, quoted where it has to be."""
    return str(tx.execute(_PLACE).one().schema)


def drop(tx: Connection) -> None:
    """Drop the views: a migration cannot change a column that one of them shows."""
    tx.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema(tx)} CASCADE")


def see(match: Match) -> None:
    """Let the transactions of this request or task see what a key with this ``match`` may."""
    _SEEN.set(match or None)


def bound() -> bool:
    """True if this request or task sees only a team's adapters."""
    return _SEEN.get() is not None


@contextmanager
def unbound() -> Iterator[None]:
    """Let the transactions that begin inside see everything: what they answer is for no team."""
    before = _SEEN.set(None)
    try:
        yield
    finally:
        _SEEN.reset(before)


def enter(tx: Connection) -> None:
    """Restrict a transaction that has just begun, if its request or task is a team's."""
    match = _SEEN.get()
    if match is not None:
        _restrict(tx, match)


@contextmanager
def whole(tx: Connection) -> Iterator[None]:
    """Let queries inside see the whole fleet, for numbers that name nobody."""
    if not bound():
        yield
        return
    tx.execute(_OUT)
    yield
    tx.execute(_INTO)  # after an error the transaction is over anyway


def sees(tx: Connection, match: Match, named: Mapping[str, object]) -> bool:
    """True if all that is named is of a key's team, by the words of :data:`OWNED`.

    The transaction itself sees everything, before and after.
    """
    assert not bound(), "asked before the request is a team's"  # noqa: S101 (invariant)
    _restrict(tx, match)
    found = all(_is_own(tx, kind, value) for kind, value in named.items())
    tx.execute(_OUT)
    return found


def _is_own(tx: Connection, kind: str, value: object) -> bool:
    if kind == "change":  # those of others, too, are only seen
        tx.execute(_OUT)
        own = tx.execute(_OWN_CHANGE, {"id": value}).first() is not None
        tx.execute(_INTO)
        return own
    query = sa.select(_OWNED[kind]).where(_OWNED[kind] == value)
    if kind == "incident":  # likewise those of a base
        query = query.where(incidents.c.adapter_id.is_not(None))
    return tx.execute(query).first() is not None


def _restrict(tx: Connection, match: Match) -> None:
    own = sa.select(adapters.c.id, adapters.c.name).where(*_accepted(match)).cte("own")
    of_own = sa.select(versions.c.id).join(own, own.c.id == versions.c.adapter_id).cte("of_own")
    settings = {
        "adapters": _listed(own.c.id),
        "names": _listed(own.c.name),
        "versions": _listed(of_own.c.id),
        "match": sa.literal(json.dumps({name: list(values) for name, values in match.items()})),
    }
    tx.execute(
        sa.select(
            *(
                sa.func.set_config(f"driftline.{name}", value, sa.true())
                for name, value in settings.items()
            )
        )
    )
    tx.execute(_INTO)


def _accepted(match: Match) -> Iterator[sa.ColumnElement[bool]]:
    """As :func:`monitor.store.people.keys.may_send_for` decides."""
    fixed: Mapping[str, sa.ColumnElement[str]] = {
        "adapter": adapters.c.name,
        "owner": sa.func.coalesce(adapters.c.owner, ""),
        "tier": adapters.c.tier,
    }
    for name, values in match.items():
        yield fixed.get(name, adapters.c.labels[name].astext).in_(list(values))


def _listed(column: sa.ColumnElement[object]) -> sa.ScalarSelect[str]:
    """Write a column as PostgreSQL writes an array."""
    written = sa.cast(sa.func.array_agg(column), sa.Text)
    return sa.select(sa.func.coalesce(written, "{}")).scalar_subquery()
