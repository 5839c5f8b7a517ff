"""Routes in a cluster: the router ``webhook``, the receiver and an API server over HTTP."""

import base64
import copy
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.kubernetes.objects import ANNOTATION, document_of, patch
from examples.kubernetes.receiver import Cluster, Routes, respond
from monitor.domain import Arm, ArmKind, Route
from monitor.traffic.routers.contract import RouterFailed
from monitor.traffic.routers.webhook import WebhookRouter, WebhookRouting
from monitor.traffic.table import to_json
from tests.loopback import LOOPBACK
from tests.routed import answering

SECRET = "whsec_" + base64.b64encode(b"only the receiver knows it").decode()
NOW = datetime.now(UTC)
KINDS = ("InferenceModelRewrite", "AIGatewayRoute")
PLACES = {
    "InferenceModelRewrite": {
        "group": "inference.networking.x-k8s.io",
        "version": "v1alpha2",
        "plural": "inferencemodelrewrites",
    },
    "AIGatewayRoute": {
        "group": "aigateway.envoyproxy.io",
        "version": "v1alpha1",
        "plural": "aigatewayroutes",
    },
}
RULES: dict[str, Any] = {
    "InferenceModelRewrite": {
        "matches": [{"model": {"type": "Exact", "value": "support"}}],
        "targets": [{"modelRewrite": "support@v6", "weight": 100}],
    },
    "AIGatewayRoute": {
        "matches": [{"headers": [{"name": "x-ai-eg-model", "value": "support"}]}],
        "backendRefs": [{"name": "vllm", "modelNameOverride": "support@v6", "weight": 1}],
    },
}


@dataclass
class ApiServer:
    """Objects by path; takes JSON patches as an API server does, and nothing else."""

    objects: dict[str, Any] = field(default_factory=dict)
    rivals: int = 0
    """So many of the next patches come after somebody else's change."""
    patches: int = 0
    tokens: set[str] = field(default_factory=set)

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        self.tokens.add(headers["Authorization"])
        if path not in self.objects:
            return 404, b"{}"
        if method == "PATCH":
            if headers["Content-Type"] != "application/json-patch+json":
                return 415, b"{}"
            self.patches += 1
            if self.rivals:
                self.rivals -= 1
                self._touch(self.objects[path])
            made = copy.deepcopy(self.objects[path])
            for change in json.loads(body):
                if not self._apply(made, **change):
                    return 422, b"{}"
            self._touch(made)
            self.objects[path] = made
        return 200, json.dumps(self.objects[path]).encode()

    def _apply(self, made: Any, *, op: str, path: str, value: Any) -> bool:
        *parents, last = path.strip("/").split("/")
        at = made
        for name in parents:
            at = at[int(name) if isinstance(at, list) else name]
        if op == "test":
            return bool(at.get(last) == value)
        assert op == "add"
        at[last] = value
        return True

    def _touch(self, made: Any) -> None:
        made["metadata"]["resourceVersion"] = str(int(made["metadata"]["resourceVersion"]) + 1)


@dataclass
class Scene:
    """A router, the receiver and a cluster with one object."""

    kind: str
    server: ApiServer
    routes: Routes
    router: WebhookRouter

    @property
    def found(self) -> Any:
        return next(iter(self.server.objects.values()))

    def targets(self) -> list[tuple[str, int]]:
        rule = self.found["spec"]["rules"][0]
        return [
            (one.get("modelRewrite") or one["modelNameOverride"], one["weight"])
            for one in rule.get("targets") or rule["backendRefs"]
        ]


@pytest.fixture(params=KINDS)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    kind: str = request.param
    place = PLACES[kind] | {"namespace": "llm", "name": "support", "kind": kind, "rule": 0}
    path = "/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}".format(**place)
    server = ApiServer({path: an_object(kind)})
    (tmp_path / "token").write_text("of the account\n")
    with ExitStack() as stack:
        cluster = Cluster(stack.enter_context(answering(server.respond)), tmp_path / "token")
        routes = Routes(cluster, {"support": place})
        url = stack.enter_context(answering(partial(respond, routes, SECRET)))
        client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
        router = WebhookRouter(WebhookRouting(url=f"{url}/routes", secret=SECRET), client)
        yield Scene(kind=kind, server=server, routes=routes, router=router)


def an_object(kind: str) -> Any:
    metadata = {"name": "support", "resourceVersion": "7", "annotations": {"team": "care"}}
    return {"kind": kind, "metadata": metadata, "spec": {"rules": copy.deepcopy([RULES[kind]])}}


def a_route(
    generation: int = 1, canary: float = 0.05, *, valid_until: datetime | None = None
) -> Route:
    arms = (
        Arm(arm=ArmKind.STABLE, version="v6", model="support@v6", weight=1 - canary),
        Arm(arm=ArmKind.CANARY, version="v7", model="support@v7", weight=canary),
    )
    return Route(
        adapter="support",
        generation=generation,
        arms=arms,
        reason="x",
        since=NOW,
        valid_until=valid_until,
    )


def test_a_route_becomes_weights_and_is_read_back_from_the_object(scene: Scene) -> None:
    assert scene.router.read_back("support") is None
    route = a_route()
    scene.router.apply(route)
    assert scene.targets() == [("support@v6", 9500), ("support@v7", 500)]
    assert scene.router.read_back("support") == route.arms
    assert scene.found["metadata"]["annotations"]["team"] == "care"
    if scene.kind == "AIGatewayRoute":
        assert {one["name"] for one in scene.found["spec"]["rules"][0]["backendRefs"]} == {"vllm"}
    scene.router.apply(route)
    assert scene.server.patches == 1  # it says so already
    aborted = a_route(2, canary=0.0)
    scene.router.apply(aborted)
    assert scene.targets() == [("support@v6", 10_000)]
    assert scene.router.read_back("support") == aborted.arms
    assert scene.server.tokens == {"Bearer of the account"}


def test_an_older_generation_is_refused_and_a_rival_loses_nothing(scene: Scene) -> None:
    scene.router.apply(a_route(3, canary=0.5))
    with pytest.raises(RouterFailed, match="holds a newer route"):
        scene.router.apply(a_route(2))
    assert scene.targets() == [("support@v6", 5000), ("support@v7", 5000)]
    scene.server.rivals = 1
    scene.router.apply(a_route(4))
    assert scene.targets() == [("support@v6", 9500), ("support@v7", 500)]
    scene.server.rivals = 9
    with pytest.raises(RouterFailed, match="503"):
        scene.router.apply(a_route(5, canary=0.5))


def test_a_restored_table_counts_and_the_lost_one_does_not_come_back(scene: Scene) -> None:
    scene.router.apply(a_route(4))
    restored = replace(a_route(1, canary=0.5), epoch=1764298000)
    scene.router.apply(restored)
    assert scene.router.read_back("support") == restored.arms
    with pytest.raises(RouterFailed, match="holds a newer route"):
        scene.router.apply(a_route(5))
    assert scene.router.read_back("support") == restored.arms


def test_what_a_person_edits_is_seen(scene: Scene) -> None:
    route = a_route()
    scene.router.apply(route)
    rule = scene.found["spec"]["rules"][0]
    (rule.get("targets") or rule["backendRefs"])[1]["weight"] = 9500
    real = scene.router.read_back("support")
    assert real is not None
    assert [arm.weight for arm in real] == [0.5, 0.5]
    scene.router.apply(route)
    assert scene.router.read_back("support") == route.arms


def test_expiry_is_enforced_with_driftline_away(scene: Scene) -> None:
    scene.router.apply(a_route(valid_until=NOW + timedelta(hours=1)))
    scene.routes.enforce_expiry(now=NOW)
    assert len(scene.targets()) == 2
    scene.routes.enforce_expiry(now=NOW + timedelta(hours=1))
    assert scene.targets() == [("support@v6", 10_000)]


def test_an_object_that_cannot_be_read_costs_the_others_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.router.apply(a_route(valid_until=NOW + timedelta(hours=1)))
    [(path, found)] = scene.server.objects.items()
    place = scene.routes._objects["support"]  # noqa: SLF001 - what the scene gave it
    odd = copy.deepcopy(found)
    odd["metadata"]["annotations"][ANNOTATION] = '{"no": "route"'
    scene.server.objects[f"{path}-odd"] = odd
    more = {name: {**place, "name": f"support-{name}"} for name in ("gone", "odd")}
    routes = Routes(scene.routes._cluster, more | {"support": place})  # noqa: SLF001 - what the scene gave it
    routes.enforce_expiry(now=NOW + timedelta(hours=1))
    assert scene.targets() == [("support@v6", 10_000)]
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == ["gone", "odd"]


def test_what_is_unsigned_unknown_or_no_route_is_refused(scene: Scene) -> None:
    ask = partial(respond, scene.routes, SECRET)
    assert ask("POST", "/routes", {}, b"{}") == (401, b"")
    wrong = WebhookRouting(
        url="http://127.0.0.1:1/r", secret="whsec_" + base64.b64encode(b"x" * 24).decode()
    )
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
    headers = WebhookRouter(wrong, client)._signed("id", b"{}")  # noqa: SLF001 - what the scene gave it
    assert ask("POST", "/routes", headers, b"{}") == (401, b"")
    right = scene.router._signed("id", b"{}")  # noqa: SLF001 - what the scene gave it
    assert ask("POST", "/routes", right, b"{}") == (400, b"")
    assert scene.router.read_back("nobody") is None
    assert scene.server.patches == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_patch_begins_with_a_test_of_what_was_read(kind: str) -> None:
    found, route = an_object(kind), json.loads(json.dumps(to_json(a_route())))
    operations = patch(kind, found, route, rule=0, now=NOW)
    assert operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert {one["op"] for one in operations[1:]} == {"add"}
    assert document_of(kind, found, rule=0, now=NOW) is None
    assert ANNOTATION in operations[-1]["value"]
