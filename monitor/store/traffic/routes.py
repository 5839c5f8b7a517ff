"""Store the route table: one row per adapter in force, and every generation ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import JSONB

from monitor.domain import AdapterId, Arm, ArmKind, Edition, Route
from monitor.store import teams, wakeups
from monitor.store.errors import Conflict
from monitor.store.rows import shaped, stored
from monitor.store.tables.registry import adapters
from monitor.store.tables.traffic import route_failures, route_history, route_refusals, routes
from monitor.store.traffic import epochs
from monitor.store.traffic.route_refusals import HEARD_FOR


class GenerationConflict(Conflict):
    """The route has changed since it was read; generation 0 means no route."""

    def __init__(self, adapter: str, *, expected: Edition, current: Edition) -> None:
        at = f"{current.generation}, not {expected.generation}"
        if current.generation == expected.generation:
            at = f"{current.generation} of epoch {current.epoch}, not of {expected.epoch}"
        super().__init__(
            f"the route of {adapter} is at generation {at}: read it again and decide anew"
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
    """A route with the fields that only Driftline needs.

    ``hold_until`` forbids automatic actions before it. ``behind`` says why and since when the
    router does not follow the route. History has neither.
    """

    route: Route
    actor: str
    hold_until: datetime | None = None
    behind: Behind | None = None


def get(tx: Connection, adapter: str) -> Route | None:
    """Return the adapter's route as written (expiry not applied)."""
    found = row(tx, adapter)
    return found.route if found else None


def of_adapters(tx: Connection, names: Collection[str]) -> dict[str, Route]:
    """Return the routes as written of those of some adapters that have one."""
    query, epoch = _named(list(names)), epochs.in_force(tx)
    found = (_row(one, epoch=epoch).route for one in tx.execute(query).mappings())
    return {route.adapter: route for route in found}


def row(tx: Connection, adapter: str, *, lock: bool = False) -> RouteRow | None:
    """Return the route in force; ``lock`` locks it until the transaction ends."""
    query = _CURRENT.where(adapters.c.name == adapter)
    if lock:
        query = query.with_for_update(of=routes)
    epoch = epochs.in_force(tx)
    found = tx.execute(query).mappings().one_or_none()
    return _row(found, epoch=epoch) if found else None


def all_routes(tx: Connection) -> list[Route]:
    """Return every adapter's route, by adapter."""
    return [found.route for found in rows(tx)]


def rows(tx: Connection) -> list[RouteRow]:
    """Return all rows in force, with the author and hold of each."""
    query, epoch = _CURRENT.order_by(adapters.c.name), epochs.in_force(tx)
    return [_row(found, epoch=epoch) for found in tx.execute(query).mappings()]


def astray(tx: Connection) -> list[str]:
    """Return the adapters whose router does not follow the route in force, by name."""
    lost = route_failures.c.since.is_not(None) | _REFUSAL.c.since.is_not(None)
    query, epoch = _CURRENT.where(lost).order_by(adapters.c.name), epochs.in_force(tx)
    found = [_row(one, epoch=epoch) for one in tx.execute(query).mappings()]
    return [one.route.adapter for one in found if one.behind is not None]


class FleetState(NamedTuple):
    """A fingerprint of the route table: generations only grow, so their sum does too."""

    epoch: int
    routes: int
    generations: int


def fleet_state(tx: Connection) -> FleetState:
    """Return the state of the whole table, that of every team, without reading a route."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(routes.c.generation), 0))
    with teams.whole(tx):
        count, total = tx.execute(query.select_from(routes)).one()
    return FleetState(epochs.in_force(tx), int(count), int(total))


def fleet(tx: Connection) -> tuple[FleetState, list[RouteRow]]:
    """Return the whole table, of a team its own routes, with the state that a watch compares."""
    if teams.bound():
        state = fleet_state(tx)  # before the routes: none of them can be older than it
        return state, rows(tx)
    found = rows(tx)
    total = sum(row.route.generation for row in found)
    return FleetState(epochs.in_force(tx), len(found), total), found


def named_among(tx: Connection, models: Sequence[str]) -> frozenset[str]:
    """Return those of some served names that an arm of any route uses."""
    arms = sa.func.jsonb_array_elements(routes.c.arms).table_valued("value")
    model = sa.type_coerce(arms.c.value, JSONB)["model"].astext
    wanted = sa.any_(sa.cast(list(models), sa.ARRAY(sa.Text)))
    query = (
        sa.select(model).select_from(routes.join(arms, sa.true())).where(model == wanted).distinct()
    )
    return frozenset(tx.scalars(query))


def changed(tx: Connection, known: Iterable[tuple[str, Edition]]) -> list[Route]:
    """Return the routes whose edition differs from the known one (generation 0: none known)."""
    pairs, epoch = dict(known), epochs.in_force(tx)
    query = (
        sa.select(adapters.c.name, routes.c.generation)
        .join(adapters, adapters.c.id == routes.c.adapter_id)
        .where(adapters.c.name == sa.any_(sa.cast(list(pairs), sa.ARRAY(sa.Text))))
    )
    found = tx.execute(query).all()
    names = [name for name, generation in found if Edition(epoch, generation) != pairs[name]]
    if not names:
        return []
    return [_row(one, epoch=epoch).route for one in tx.execute(_named(names)).mappings()]


def put(
    tx: Connection,
    adapter_id: AdapterId,
    *,
    route: Route,
    expected: int,
    actor: str,
    hold_until: datetime | None = None,
) -> Route:
    """Write ``route`` (its generation must be ``expected + 1``) if nobody has meanwhile.

    Returns it as stored: it begins no earlier than the one before it, even if clocks differ. A
    route read in another epoch is refused; epoch 0 means the one in force.

    Raises
    ------
    GenerationConflict
        The route in force is not at generation ``expected``; 0 means that there is none.
    """
    assert route.generation == expected + 1, "generations grow by one"  # noqa: S101 (invariant)
    before = tx.execute(
        sa.select(routes.c.since).where(routes.c.adapter_id == adapter_id).with_for_update()
    ).scalar_one_or_none()
    route = replace(route, since=max(route.since, before or route.since))
    arms = [arm_to_json(arm) for arm in route.arms]
    values, epoch = stored(routes, route, arms=arms, actor=actor), epochs.in_force(tx)
    is_own = route.epoch in {0, epoch}
    swapped = {**values, "hold_until": hold_until}
    if not is_own or not _swap(tx, adapter_id, swapped, expected=expected):
        current = row(tx, route.adapter)
        raise GenerationConflict(
            route.adapter,
            expected=Edition(route.epoch or epoch, expected),
            current=current.route.edition if current else Edition(epoch, 0),
        )
    tx.execute(route_history.insert().values(adapter_id=adapter_id, **values))
    wakeups.notify(tx, wakeups.ROUTES, payload=route.adapter)
    return replace(route, epoch=epoch)


def history(
    tx: Connection, adapter: str, *, before_generation: int | None = None, limit: int = 100
) -> list[RouteRow]:
    """Generations, newest first; ``before_generation`` is where the previous page ended.

    They are of no epoch: a restored table goes on where it was.
    """
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


_REFUSAL: Final = (
    sa.select(
        route_refusals.c.router,
        route_refusals.c.epoch,
        route_refusals.c.generation,
        route_refusals.c.since,
    )
    .where(
        route_refusals.c.adapter_id == routes.c.adapter_id,
        route_refusals.c.said_at > sa.func.now() - HEARD_FOR,
    )
    .order_by(route_refusals.c.since, route_refusals.c.router)
    .limit(1)
    .lateral("refusal")
)
_CURRENT: Final = (
    sa.select(
        routes,
        adapters.c.name.label("adapter"),
        route_failures.c.since.label("behind_since"),
        route_failures.c.why.label("behind_why"),
        _REFUSAL.c.since.label("refused_since"),
        _REFUSAL.c.router.label("refused_by"),
        _REFUSAL.c.epoch.label("held_epoch"),
        _REFUSAL.c.generation.label("held_generation"),
    )
    .join(adapters, adapters.c.id == routes.c.adapter_id)
    .outerjoin(_REFUSAL, sa.true())
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


def arm_to_json(arm: Arm) -> dict[str, object]:
    """Write an arm as stored and as the API shows it."""
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


def _row(found: RowMapping, *, epoch: int = 0) -> RouteRow:
    route = shaped(
        Route,
        found,
        epoch=epoch,
        arms=tuple(map(arm_from_json, found["arms"])),
        on_expiry=ArmKind(found["on_expiry"]),
    )
    return shaped(RouteRow, found, route=route, behind=_behind(found, route.edition))


def _behind(found: RowMapping, edition: Edition) -> Behind | None:
    """Return why a router does not follow the route: our failure to tell it, else its refusal."""
    if found.get("behind_since") is not None:
        return Behind(since=found["behind_since"], why=found["behind_why"])
    if found.get("refused_since") is None:
        return None
    held = Edition(found["held_epoch"], found["held_generation"])
    if held < edition:
        return None  # it will take the route at its next look
    why = (
        f"{found['refused_by']} goes by generation {held.generation} of epoch {held.epoch} and"
        f" refuses generation {edition.generation} of epoch {edition.epoch}; if this database"
        " was put back: driftline route renew"
    )
    return Behind(since=found["refused_since"], why=why)
