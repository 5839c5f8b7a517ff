"""The route table: one row for each adapter in force, and every generation it ever had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import JSONB

from monitor.domain import AdapterId, Arm, ArmKind, Route
from monitor.store import wakeups
from monitor.store.errors import Conflict
from monitor.store.tables import adapters, route_failures, route_history, routes


class GenerationConflict(Conflict):
    """The route has changed since it was read. ``current`` is 0 where there is none."""

    def __init__(self, adapter: str, *, expected: int, current: int) -> None:
        super().__init__(
            f"the route of {adapter} is at generation {current}, not {expected}:"
            " read it again and decide anew"
        )
        self.expected = expected
        self.current = current


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """The router could not be told the route in force."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """A route with what only Driftline needs of it.

    ``hold_until`` forbids automatic actions before it. ``behind`` says why the router does
    not go by it, since when. History keeps neither.
    """

    route: Route
    actor: str
    hold_until: datetime | None = None
    behind: Behind | None = None


def get(tx: Connection, adapter: str) -> Route | None:
    """Return the adapter's route as written (expiry not applied)."""
    found = row(tx, adapter)
    return found.route if found else None


def row(tx: Connection, adapter: str, *, lock: bool = False) -> RouteRow | None:
    """Return the route in force; ``lock`` keeps it so until the transaction ends."""
    query = _CURRENT.where(adapters.c.name == adapter)
    if lock:
        query = query.with_for_update(of=routes)
    found = tx.execute(query).mappings().one_or_none()
    return _row(found) if found else None


def all_routes(tx: Connection) -> list[Route]:
    """Return every adapter's route, by adapter."""
    return [found.route for found in rows(tx)]


def rows(tx: Connection) -> list[RouteRow]:
    """Return the same with who wrote each and until when it is held."""
    query = _CURRENT.order_by(adapters.c.name)
    return [_row(found) for found in tx.execute(query).mappings()]


class FleetState(NamedTuple):
    """Tells whether any route has changed: generations only grow, so their sum does too."""

    routes: int
    generations: int


def fleet_state(tx: Connection) -> FleetState:
    """Return the state of the whole table, without reading a route."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(routes.c.generation), 0))
    count, total = tx.execute(query.select_from(routes)).one()
    return FleetState(int(count), int(total))


def named_among(tx: Connection, models: Sequence[str]) -> frozenset[str]:
    """Return those of some served names that an arm of any route has."""
    arms = sa.func.jsonb_array_elements(routes.c.arms).table_valued("value")
    model = sa.type_coerce(arms.c.value, JSONB)["model"].astext
    wanted = sa.any_(sa.cast(list(models), sa.ARRAY(sa.Text)))
    query = (
        sa.select(model).select_from(routes.join(arms, sa.true())).where(model == wanted).distinct()
    )
    return frozenset(tx.scalars(query))


def changed(tx: Connection, known: Iterable[tuple[str, int]]) -> list[Route]:
    """Return the routes whose generation differs from the one known (0: none known)."""
    pairs = dict(known)
    query = (
        sa.select(adapters.c.name, routes.c.generation)
        .join(adapters, adapters.c.id == routes.c.adapter_id)
        .where(adapters.c.name == sa.any_(sa.cast(list(pairs), sa.ARRAY(sa.Text))))
    )
    names = [name for name, generation in tx.execute(query) if generation != pairs[name]]
    if not names:
        return []
    return [_row(found).route for found in tx.execute(_named(names)).mappings()]


def put(
    tx: Connection,
    adapter_id: AdapterId,
    *,
    route: Route,
    expected: int,
    actor: str,
    hold_until: datetime | None = None,
) -> None:
    """Write ``route`` (its generation must be ``expected + 1``) if nobody has meanwhile.

    Raises
    ------
    GenerationConflict
        The route in force is not at generation ``expected``; 0 means that there is none.
    """
    assert route.generation == expected + 1, "generations grow by one"  # noqa: S101 (invariant)
    values = _values(route, actor)
    if not _swap(tx, adapter_id, {**values, "hold_until": hold_until}, expected=expected):
        current = row(tx, route.adapter)
        raise GenerationConflict(
            route.adapter,
            expected=expected,
            current=current.route.generation if current else 0,
        )
    tx.execute(route_history.insert().values(adapter_id=adapter_id, **values))
    wakeups.notify(tx, wakeups.ROUTES, payload=route.adapter)


def history(
    tx: Connection, adapter: str, *, before_generation: int | None = None, limit: int = 100
) -> list[RouteRow]:
    """Generations, newest first; ``before_generation`` is where the previous page ended."""
    query = (
        sa.select(route_history, adapters.c.name.label("adapter"))
        .join(adapters, adapters.c.id == route_history.c.adapter_id)
        .where(adapters.c.name == adapter)
        .order_by(route_history.c.generation.desc())
        .limit(limit)
    )
    if before_generation is not None:
        query = query.where(route_history.c.generation < before_generation)
    return [_row(found) for found in tx.execute(query).mappings()]


_CURRENT: Final = (
    sa.select(
        routes,
        adapters.c.name.label("adapter"),
        route_failures.c.since.label("behind_since"),
        route_failures.c.why.label("behind_why"),
    )
    .join(adapters, adapters.c.id == routes.c.adapter_id)
    .outerjoin(
        route_failures,
        (route_failures.c.adapter_id == routes.c.adapter_id)
        & (route_failures.c.generation == routes.c.generation),
    )
)


def _named(names: list[str]) -> sa.Select[Any]:
    return _CURRENT.where(adapters.c.name == sa.any_(sa.cast(names, sa.ARRAY(sa.Text))))


def _swap(tx: Connection, adapter_id: AdapterId, values: dict[str, Any], *, expected: int) -> bool:
    if expected == 0:
        first = sa.dialects.postgresql.insert(routes).values(adapter_id=adapter_id, **values)
        made = first.on_conflict_do_nothing().returning(routes.c.generation)
        return tx.execute(made).first() is not None
    swap = (
        routes.update()
        .where(routes.c.adapter_id == adapter_id, routes.c.generation == expected)
        .values(**values)
    )
    return tx.execute(swap).rowcount == 1


def _values(route: Route, actor: str) -> dict[str, Any]:
    return {
        "generation": route.generation,
        "arms": [arm_to_json(arm) for arm in route.arms],
        "reason": route.reason,
        "actor": actor,
        "since": route.since,
        "valid_until": route.valid_until,
        "on_expiry": route.on_expiry.value,
    }


def arm_to_json(arm: Arm) -> dict[str, object]:
    """Write an arm as it is stored and as the API shows it."""
    return {
        "arm": arm.arm.value,
        "version": arm.version,
        "model": arm.model,
        "weight": arm.weight,
    }


def arm_from_json(body: dict[str, Any]) -> Arm:
    """Read what :func:`arm_to_json` wrote."""
    return Arm(
        arm=ArmKind(body["arm"]),
        version=body["version"],
        model=body["model"],
        weight=float(body["weight"]),
    )


def _row(found: RowMapping) -> RouteRow:
    route = Route(
        adapter=found["adapter"],
        generation=found["generation"],
        arms=tuple(arm_from_json(body) for body in found["arms"]),
        reason=found["reason"],
        since=found["since"],
        valid_until=found["valid_until"],
        on_expiry=ArmKind(found["on_expiry"]),
    )
    since = found.get("behind_since")
    return RouteRow(
        route=route,
        actor=found["actor"],
        hold_until=found.get("hold_until"),
        behind=since and Behind(since=since, why=found["behind_why"]),
    )
