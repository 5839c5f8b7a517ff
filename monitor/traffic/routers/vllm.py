"""vLLM replicas: each version has its own name and path, and is loaded before it is needed.

No version is ever replaced in place: an engine that gets other weights under a known name
may answer from blocks of its prefix cache that the old weights filled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path, PurePath
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from alerts.outgoing import OutgoingError, redacted
from monitor.addresses import is_list, list_fault
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.engine_addresses import NO_ADDRESS, EngineAddresses
from monitor.probes.asking import local_folder
from monitor.probes.cards import ModelCard, list_models
from monitor.probes.errors import ProbeFailed
from monitor.probes.weights.errors import WeightsRefused
from monitor.store import clock as store_clock
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries, routes
from monitor.traffic.arms import stable_arm
from monitor.traffic.routers.contract import Reach, RouterFailed

_AT_ONCE: Final = 16
_IDENTITY: Final = re.compile(r"[0-9a-f]{64}")
_HISTORY: Final = 100
"""Generations of the route searched for the version that was last in charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmRouting:
    """Keys of ``[routing.vllm]``.

    engines
        Every replica by itself, not behind a balancer; empty: ``serving.engines``.
    drain
        How long a version that no route names any more stays loaded, for clients that still
        follow an older route.
    timeout
        Limit of one request; loading an adapter is one request.
    """

    engines: tuple[str, ...] = ()
    drain: timedelta = timedelta(minutes=5)
    timeout: timedelta = timedelta(seconds=30)


def problems(settings: VllmRouting, reach: Reach) -> list[str]:
    """Say what is wrong with the settings, each with its key."""
    found = []
    for engine in settings.engines:
        if is_list(engine):
            fault = list_fault(engine)
            found += [] if fault is None else [f"engines: {fault}"]
            continue
        try:
            reach.inside.check(engine)
        except OutgoingError as error:
            found.append(f"engines: {error}")
    if not settings.engines and not reach.engines:
        found.append("engines: name every replica, here or in serving.engines")
    if settings.drain < timedelta():
        found.append("drain: must not be negative")
    if settings.timeout <= timedelta():
        found.append("timeout: must be longer than 0")
    return found


class Replicas:
    """Loads a route's versions on every replica, and unloads those no longer needed."""

    def __init__(
        self,
        settings: VllmRouting,
        reach: Reach,
        database: Database,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._addresses = EngineAddresses(settings.engines or reach.engines)
        self._drain = settings.drain
        self._timeout = settings.timeout.total_seconds()
        self._reach = reach
        self._database = database
        self._clock = clock or (lambda: database.run(store_clock.now))

    def prepare(self, versions: Sequence[Version]) -> None:
        """Load the versions on every replica under their own names, and check the listing."""
        urls = self._addresses.now()
        paths = _Paths(self._reach.files)
        failures = self._at_each(urls, lambda url: self._hold(url, versions, paths))
        if failures:
            done = [redacted(url) for url in urls if url not in failures]
            raise RouterFailed(
                f"{'; '.join(failures.values())} (complete: {', '.join(done) or 'none'})"
            )

    def apply(self, route: Route) -> None:
        """Load the route's versions; after the drain, unload those no longer needed."""
        current = self._database.run(lambda tx: routes.get(tx, route.adapter))
        if current is not None and current.edition > route.edition:
            return
        named = {arm.version for arm in route.arms}
        self.prepare([one for one in self._registered(route.adapter) if one.name in named])
        if self._clock() - route.since < self._drain:
            return
        unneeded = self._database.run(lambda tx: _unneeded(tx, route))
        urls = self._addresses.now()
        if failures := self._at_each(urls, lambda url: self._let_go(url, unneeded)):
            raise RouterFailed("; ".join(failures.values()))

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        """Return the arms of the table that every replica can serve."""
        route = self._database.run(lambda tx: routes.get(tx, adapter))
        if route is None:
            return None
        listed: dict[str, Mapping[str, ModelCard]] = {}
        urls = self._addresses.now()

        def ask(url: str) -> None:
            listed[url] = self._cards(url)

        if failures := self._at_each(urls, ask):
            raise RouterFailed("; ".join(failures.values()))
        return tuple(arm for arm in route.arms if all(arm.model in listed[url] for url in urls))

    def _registered(self, adapter: str) -> list[Version]:
        return self._database.run(lambda tx: _versions(tx, adapter))

    def _hold(self, url: str, wanted: Sequence[Version], paths: _Paths) -> None:
        cards = self._cards(url)
        missing = [version for version in wanted if version.model not in cards]
        answers = {version.model: self._load(url, version, paths) for version in missing}
        if missing:
            cards = self._cards(url)
        for version in wanted:
            if version.model not in cards:
                raise RouterFailed(
                    f"{redacted(url)} does not serve {version.model}: {answers[version.model]}"
                )
            self._check_place(url, version, cards[version.model])

    def _load(self, url: str, version: Version, paths: _Paths) -> str:
        """Ask a replica to load one adapter; the listing, not the answer, shows success."""
        if version.uri is None:
            return "its version is registered without a uri to load it from"
        try:
            path = paths.of(version)
        except WeightsRefused as refused:
            return refused.reason
        status = self._post(
            url, "load_lora_adapter", {"lora_name": version.model, "lora_path": path}
        )
        match status:
            case HTTPStatus.NOT_FOUND:
                return (
                    "it was not found there, or the engine runs without"
                    " VLLM_ALLOW_RUNTIME_LORA_UPDATING"
                )
            case _:
                return f"loading it was answered with {status}"

    def _check_place(self, url: str, version: Version, card: ModelCard) -> None:
        """Refuse a name that stands for other files: the model would be replaced in place."""
        if card.parent is None or card.root is None or version.uri is None:
            return
        root = PurePath(card.root)
        held = self._reach.at_hand(version)  # which the cache notes as used
        known = {PurePath(version.uri), local_folder(version.uri), held}
        names = {version.sha256} if held is None else {version.sha256, held.name}
        # without the files here, a folder of a cache is known by nothing but its form
        unknown = held is None and _IDENTITY.fullmatch(root.name)
        if root not in known and root.name not in names and not unknown:
            raise RouterFailed(
                f"{redacted(url)} serves {version.model} from another place than it is registered"
                " with; register other weights as another version"
            )

    def _let_go(self, url: str, unneeded: Sequence[str]) -> None:
        listed = self._cards(url) if unneeded else {}
        for model in unneeded:
            if model in listed and listed[model].parent is not None:
                status = self._post(url, "unload_lora_adapter", {"lora_name": model})
                if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
                    raise RouterFailed(f"{redacted(url)} keeps {model}: it answered {status}")

    def _cards(self, url: str) -> Mapping[str, ModelCard]:
        try:
            found = list_models(url, http=self._reach.inside, headers=self._reach.engine_headers)
        except ProbeFailed as error:
            raise RouterFailed(f"{redacted(url)}: {error.reason}") from None
        return {card.id: card for card in found}

    def _post(self, url: str, call: str, body: Mapping[str, str]) -> int:
        try:
            reply = self._reach.inside.post(
                f"{url}/v1/{call}",
                body=json.dumps(body).encode(),
                headers={"content-type": "application/json", **self._reach.engine_headers},
                timeout=self._timeout,
            )
        except OutgoingError as error:
            raise RouterFailed(f"{redacted(url)}: {error}") from None
        return reply.status

    def _at_each(self, urls: Sequence[str], work: Callable[[str], None]) -> dict[str, str]:
        """Run the call on every replica at once; one that fails delays no other."""
        if not urls:
            raise RouterFailed(NO_ADDRESS)

        def one(url: str) -> str | None:
            try:
                work(url)
            except RouterFailed as failed:
                return str(failed)
            return None

        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(urls))) as pool:
            said = dict(zip(urls, pool.map(one, urls), strict=True))
        return {url: failure for url, failure in said.items() if failure is not None}


class _Paths:
    """The paths for engines to load from; a version is fetched once for all replicas."""

    def __init__(self, files: Callable[[Version], Path | None]) -> None:
        self._files = files
        self._lock = Lock()
        self._known: dict[str, str | WeightsRefused] = {}

    def of(self, version: Version) -> str:
        """Return a folder that the engine reads, or a URI that it resolves itself.

        Raises
        ------
        WeightsRefused
            The files cannot be fetched.
        """
        own = local_folder(version.uri or "")
        if own is not None:
            return str(own)
        with self._lock:
            if version.model not in self._known:
                self._known[version.model] = self._found(version)
            found = self._known[version.model]
        if isinstance(found, WeightsRefused):
            raise found
        return found

    def _found(self, version: Version) -> str | WeightsRefused:
        try:
            return str(self._files(version) or version.uri)
        except WeightsRefused as refused:
            return refused


def _versions(tx: Connection, adapter: str) -> list[Version]:
    known = adapters.fetch(tx, adapter)
    return [] if known is None else versions.of_adapter(tx, known.id)


def _unneeded(tx: Connection, route: Route) -> list[str]:
    """List models that could be loaded again, and that no route, fallback or canary needs.

    What somebody else loaded, and nobody registered, stays.
    """
    registered = _versions(tx, route.adapter)
    canary = canaries.active(tx, registered[0].adapter_id) if registered else None
    kept = {arm.version for arm in route.arms} | _fallbacks(tx, route, registered)
    kept |= {canary.version} if canary else set()
    free = [
        one.model
        for one in registered
        if one.name not in kept and one.uri is not None and versions.FOUND_BY not in one.metadata
    ]
    named = routes.named_among(tx, free)
    return [model for model in free if model not in named]


def _fallbacks(tx: Connection, route: Route, registered: Sequence[Version]) -> set[str]:
    """Return the versions a fallback would choose: the parent, or versions once in charge."""
    stable = stable_arm(route).version
    parents = {one.parent for one in registered if one.name == stable and one.parent}
    before = (
        arm.version
        for row in routes.history(tx, route.adapter, limit=_HISTORY)
        for arm in row.route.arms
        if arm.arm is ArmKind.STABLE and arm.weight > 0 and arm.version != stable
    )
    return parents | {name for name in [next(before, None)] if name is not None}
