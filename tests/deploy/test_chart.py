"""The chart as Helm renders it: valid, without needless rights, and refused where wrong."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import yaml

from tests.docs.pages import ROOT
from tests.tools import skip_unless

DEPLOY: Final = ROOT / "deploy"
RENDERING: Final = ROOT / "release" / "chart.py"
HELM: Final = ROOT / ".venv-deploy" / "bin" / "python"
Thing = dict[str, Any]

POSTGRES = {"secret": "pg"}
SETS: Final[dict[str, Thing]] = {
    "as-it-comes": {},
    "own-postgres": {"database": POSTGRES},
    "owner-apart": {"database": POSTGRES | {"urlKey": "uri", "ownerUrlKey": "owner"}},
    "operator": {"database": {"secret": "pg-app", "urlKey": "uri"}},
    "own-keys": {"keys": {"secret": "from-the-vault"}, "database": POSTGRES},
    "no-gateway": {"gateway": {"enabled": False}},
    "one-gateway": {"gateway": {"replicas": 1}},
    "many-gateways": {
        "gateway": {
            "replicas": 3,
            "autoscaling": {"enabled": True, "max": 30, "cpu": 60},
            "minAvailable": "50%",
            "serviceType": "LoadBalancer",
        }
    },
    "watched": {
        "database": POSTGRES,
        "monitoring": {
            "serviceMonitor": True,
            "prometheusRule": True,
            "dashboards": True,
            "labels": {"release": "prometheus"},
        },
    },
    "vault": {
        "keys": {"secret": "vault"},
        "config": "[gateway]\nkeys = true\n",
        "monitoring": {"serviceMonitor": True},
    },
    "open-network": {"networkPolicy": {"enabled": False}},
    "named-peers": {
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"team": "ml"}}}],
            "gatewayFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        }
    },
    "own-registry": {
        "image": {
            "repository": "registry.example.com/ml/driftline",
            "tag": "0.1.0-1",
            "pullPolicy": "Always",
            "pullSecrets": ["registry"],
        }
    },
    "placed": {
        "database": POSTGRES,
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    },
    "looks-for-engines": {
        "database": POSTGRES,
        "discovery": {"namespaces": ["models", "more-models"]},
        "config": '[serving]\nengines = ["kubernetes+http://vllm.models:8000"]\n',
    },
    "odd-config": {"config": '  [service]\n  mode = "auto" # {{ not a template }}\n'},
    "own-config": {
        "config": '[service]\nmode = "approve"\n\n[serving]\napi_key_env = "VLLM_API_KEY"\n',
        "env": [
            {
                "name": "VLLM_API_KEY",
                "valueFrom": {"secretKeyRef": {"name": "vllm", "key": "api-key"}},
            }
        ],
        "envFrom": [{"secretRef": {"name": "channels"}}],
        "volume": {"size": "100Gi", "storageClass": "fast"},
    },
}
WRONG: Final[dict[str, tuple[Thing, str]]] = {
    "a misspelt key": ({"databse": {}}, "additional properties 'databse' not allowed"),
    "no number": ({"api": {"replicas": "two"}}, "got string, want integer"),
    "no process": ({"worker": {"replicas": 0}}, "minimum: got 0, want 1"),
    "no memory limit": ({"api": {"resources": {"limits": None}}}, "/api/resources"),
    "no size": ({"volume": {"size": "large"}}, "does not match pattern"),
}


def _rendered(sets: Mapping[str, Thing]) -> dict[str, Thing]:
    ran = subprocess.run(
        [HELM, RENDERING],
        input=json.dumps(sets),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Thing] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Thing]:
    skip_unless(HELM.exists(), "`make .venv-deploy/.ready` installs Helm's engine")
    return _rendered(SETS | {name: values for name, (values, _) in WRONG.items()})


def _objects(outcomes: Mapping[str, Thing], name: str) -> list[Thing]:
    assert "error" not in outcomes[name], outcomes[name]
    objects: list[Thing] = outcomes[name]["objects"]
    return objects


def _of_kind(objects: list[Thing], kind: str) -> dict[str, Thing]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def _pods(objects: list[Thing]) -> Iterator[tuple[str, Thing]]:
    for one in objects:
        if "template" in one.get("spec", {}):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid(outcomes: dict[str, Thing], name: str) -> None:
    assert _objects(outcomes, name)
    assert outcomes[name]["invalid"] == []


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused(outcomes: dict[str, Thing], name: str) -> None:
    assert WRONG[name][1] in outcomes[name]["error"]


@pytest.mark.parametrize("name", SETS)
def test_no_process_may_more_than_it_needs(outcomes: dict[str, Thing], name: str) -> None:
    objects = _objects(outcomes, name)
    looks = "discovery" in SETS[name]
    kinds = {one["kind"] for one in objects}
    assert not any(kind.startswith("Cluster") for kind in kinds)
    assert any("Role" in kind for kind in kinds) is looks
    for where, pod in _pods(objects):
        assert pod["automountServiceAccountToken"] is (looks and not where.startswith("Job")), where
        rights = pod["securityContext"]
        assert (rights["runAsNonRoot"], rights["runAsUser"]) == (True, 10001), where
        assert rights["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), where
        assert not any("hostPath" in volume for volume in pod["volumes"]), where
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]) == {"requests", "limits"}
            assert not container["image"].endswith((":", ":latest"))


@pytest.mark.parametrize("name", SETS)
def test_every_lasting_process_is_looked_at(outcomes: dict[str, Thing], name: str) -> None:
    for where, pod in _pods(_objects(outcomes, name)):
        if where.startswith("Job "):
            continue
        for container in pod["containers"]:
            paths = {
                kind: container[f"{kind}Probe"]["httpGet"]["path"]
                for kind in ("startup", "liveness", "readiness")
            }
            assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
            assert [port["name"] for port in container["ports"]] == ["http"]


@pytest.mark.parametrize("name", SETS)
def test_what_is_mounted_is_there(outcomes: dict[str, Thing], name: str) -> None:
    for where, pod in _pods(_objects(outcomes, name)):
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert len(volumes) == len(pod["volumes"])
        if where.startswith("StatefulSet"):
            volumes.add("data")
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, where


@pytest.mark.parametrize("name", SETS)
def test_services_and_policies_select_pods_that_exist(
    outcomes: dict[str, Thing], name: str
) -> None:
    objects = _objects(outcomes, name)
    labels = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in objects
        if "template" in one.get("spec", {})
    ]
    selectors = [one["spec"]["selector"] for one in _of_kind(objects, "Service").values()]
    selectors += [
        one["spec"]["podSelector"]["matchLabels"]
        for one in _of_kind(objects, "NetworkPolicy").values()
    ]
    assert selectors
    for selector in selectors:
        assert any(selector.items() <= one.items() for one in labels), selector


def test_without_a_database_one_process_does_everything(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "as-it-comes")
    assert set(_of_kind(objects, "Deployment")) == {"driftline-gateway"}
    (service,) = _of_kind(objects, "StatefulSet").values()
    assert service["spec"]["replicas"] == 1
    assert service["spec"]["template"]["spec"]["containers"][0]["args"] == ["serve"]
    assert not _of_kind(objects, "Job")


def test_with_a_database_each_role_has_its_own(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "owner-apart")
    roles = {"driftline-api", "driftline-worker", "driftline-gateway"}
    assert set(_of_kind(objects, "Deployment")) == roles
    (migration,) = _of_kind(objects, "Job").values()
    pods = dict(_pods(objects))
    given = {
        where: {one["name"] for container in pod["containers"] for one in container["env"]}
        for where, pod in pods.items()
    }
    job = f"Job {migration['metadata']['name']}"
    with_owner = {
        where for where, names in given.items() if "DRIFTLINE_DATABASE__OWNER_URL" in names
    }
    with_url = {where for where, names in given.items() if "DRIFTLINE_DATABASE__URL" in names}
    assert with_owner == {job}
    assert with_url == {job, "Deployment driftline-api", "Deployment driftline-worker"}


def test_whose_database_it_is_says_a_secret_alone(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "operator")
    named = [
        one["valueFrom"]["secretKeyRef"]
        for _, pod in _pods(objects)
        for container in [*pod["containers"], *pod.get("initContainers", ())]
        for one in container["env"]
        if one["name"] == "DRIFTLINE_DATABASE__URL"
    ]
    assert len(named) == 5, "API, worker, and the three steps of the job"
    assert all(one == {"name": "pg-app", "key": "uri"} for one in named)
    assert not _of_kind(objects, "StatefulSet")


def test_a_job_that_would_do_something_else_is_another_job(outcomes: dict[str, Thing]) -> None:
    """Kubernetes refuses to change one."""
    jobs = [job for one in SETS for job in _of_kind(_objects(outcomes, one), "Job").items()]
    names = {name: json.dumps(job["spec"], sort_keys=True) for name, job in jobs}
    assert len(jobs) > len(names) > 3
    assert all(names[name] == json.dumps(job["spec"], sort_keys=True) for name, job in jobs)
    assert all(re.fullmatch(r"driftline-migrate-[0-9a-f]{8}", name) for name in names)
    assert all(len(name) <= 63 for name in names)


def test_who_serves_waits_for_the_migration_and_never_migrates(
    outcomes: dict[str, Thing],
) -> None:
    for where, pod in _pods(_objects(outcomes, "own-postgres")):
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            told = {one["name"]: one.get("value") for one in container["env"]}
            waits = told.get("DRIFTLINE_DATABASE__MIGRATES") == "false"
            assert waits is where.endswith(("-api", "-worker")), where


def test_the_keys_it_makes_are_keys(outcomes: dict[str, Thing]) -> None:
    made = _of_kind(_objects(outcomes, "as-it-comes"), "Secret")["driftline-keys"]
    again = _of_kind(_objects(outcomes, "own-postgres"), "Secret")["driftline-keys"]
    keys = {name: base64.b64decode(text) for name, text in made["data"].items()}
    assert {len(keys[name]) for name in ("subject.key", "session.key")} == {32}
    for name in ("gateway.key", "metrics.key"):
        assert re.fullmatch(rb"dl_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", keys[name])
    assert len(set(keys.values())) == 4
    assert not set(made["data"].values()) & set(again["data"].values())
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_secrets_of_your_own_are_referred_to_and_never_made(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "own-keys")
    assert not _of_kind(objects, "Secret")
    for _, pod in _pods(objects):
        (keys,) = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
        assert keys["secret"]["secretName"] == "from-the-vault"


def test_who_looks_for_engines_may_read_their_endpoints_and_no_more(
    outcomes: dict[str, Thing],
) -> None:
    objects = _objects(outcomes, "looks-for-engines")
    roles = [one for one in objects if one["kind"] == "Role"]
    bindings = [one for one in objects if one["kind"] == "RoleBinding"]
    places = [one["metadata"]["namespace"] for one in roles]
    assert places == [one["metadata"]["namespace"] for one in bindings] == ["models", "more-models"]
    rules = [
        ("discovery.k8s.io", "endpointslices", ["list", "watch"]),
        ("production-stack.vllm.ai", "loraadapters", ["list"]),
        ("model.aibrix.ai", "modeladapters", ["list"]),
        ("serving.kserve.io", "llminferenceservices", ["list"]),
    ]
    wanted = [
        {"apiGroups": [group], "resources": [one], "verbs": verbs} for group, one, verbs in rules
    ]
    assert all(one["rules"] == wanted for one in roles)
    (account,) = _of_kind(objects, "ServiceAccount")
    for one in bindings:
        assert one["roleRef"]["name"] == roles[0]["metadata"]["name"]
        assert one["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "ml"}]
    for where, pod in _pods(objects):
        assert pod.get("serviceAccountName") == (None if where.startswith("Job") else account)


@pytest.mark.parametrize("name", SETS)
def test_a_gateways_budget_is_of_its_pods_alone(outcomes: dict[str, Thing], name: str) -> None:
    objects = _objects(outcomes, name)
    gateway = SETS[name].get("gateway", {})
    budgets = _of_kind(objects, "PodDisruptionBudget").values()
    spared = gateway.get("replicas", 2) > 1  # one replica that may not go blocks each drain
    assert len(budgets) == (gateway.get("enabled", True) and spared)
    for budget in budgets:
        assert budget["spec"]["minAvailable"] == gateway.get("minAvailable", 1)
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert [
            one["metadata"]["name"]
            for one in objects
            if "template" in one.get("spec", {})
            and wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        ] == ["driftline-gateway"]


@pytest.mark.parametrize("name", SETS)
def test_a_scaler_knows_its_gateway_and_nobody_else_says_how_many(
    outcomes: dict[str, Thing], name: str
) -> None:
    objects = _objects(outcomes, name)
    scalers = _of_kind(objects, "HorizontalPodAutoscaler").values()
    assert len(scalers) == (name == "many-gateways")
    for where, one in _of_kind(objects, "Deployment").items():
        scaled = [scaler["spec"]["scaleTargetRef"]["name"] == where for scaler in scalers]
        assert ("replicas" in one["spec"]) is not any(scaled), where


def test_gateways_are_as_many_as_their_load_asks_for(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "many-gateways")
    [scaler] = _of_kind(objects, "HorizontalPodAutoscaler").values()
    gateway = _of_kind(objects, "Deployment")["driftline-gateway"]
    assert scaler["spec"] == {
        "scaleTargetRef": {
            "apiVersion": gateway["apiVersion"],
            "kind": gateway["kind"],
            "name": gateway["metadata"]["name"],
        },
        "minReplicas": 3,
        "maxReplicas": 30,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 60},
                },
            }
        ],
    }
    assert scaler["metadata"]["namespace"] == gateway["metadata"]["namespace"]
    for container in gateway["spec"]["template"]["spec"]["containers"]:
        assert "cpu" in container["resources"]["requests"], "what a share is taken of"


def test_rules_and_dashboards_are_those_of_the_examples(outcomes: dict[str, Thing]) -> None:
    objects = _objects(outcomes, "watched")
    [rules] = _of_kind(objects, "PrometheusRule").values()
    kept = ROOT / "examples" / "prometheus" / "driftline.rules.yml"
    assert rules["spec"] == yaml.safe_load(kept.read_text())
    boards = _of_kind(objects, "ConfigMap")["driftline-dashboards"]["data"]
    assert {name: json.loads(text) for name, text in boards.items()} == {
        f"driftline-{path.name}": json.loads(path.read_text())
        for path in (ROOT / "examples" / "grafana").glob("*.json")
    }
    (monitor,) = _of_kind(objects, "ServiceMonitor").values()
    services = _of_kind(objects, "Service")
    jobs = {
        name: one["metadata"]["labels"][monitor["spec"]["jobLabel"]]
        for name, one in services.items()
    }
    assert jobs == {"driftline": "driftline", "driftline-gateway": "driftline-gateway"}


@pytest.mark.parametrize(("name", "secret"), [("watched", "driftline-keys"), ("vault", "vault")])
def test_service_and_gateway_are_scraped_with_the_key_that_both_ask_for(
    outcomes: dict[str, Thing], name: str, secret: str
) -> None:
    objects = _objects(outcomes, name)
    (monitor,) = _of_kind(objects, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": secret, "key": "metrics.key"}}
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    scraped = [
        where
        for where, one in _of_kind(objects, "Service").items()
        if chosen <= one["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in one["spec"]["ports"]}
    ]
    assert scraped == ["driftline-gateway", "driftline"]
    taken = [
        container["args"]
        for _, pod in _pods(objects)
        for container in [*pod["containers"], *pod.get("initContainers", ())]
        if container.get("args", [""])[:3] == ["keys", "create", "metrics"]
    ]
    assert [one[3:5] for one in taken] == [["--scope", "read"]]


def test_the_config_is_the_one_that_was_given(outcomes: dict[str, Thing]) -> None:
    for name in ("own-config", "odd-config"):
        config = _of_kind(_objects(outcomes, name), "ConfigMap")["driftline"]
        assert config["data"]["config.toml"] == SETS[name]["config"]


def test_the_notes_name_pods_that_exist(outcomes: dict[str, Thing]) -> None:
    assert "exec statefulset/driftline -- driftline keys create" in outcomes["as-it-comes"]["notes"]
    assert "exec deploy/driftline-api -- driftline keys" in outcomes["own-postgres"]["notes"]
    assert "gateway" not in outcomes["no-gateway"]["notes"]


@pytest.mark.usefixtures("outcomes")
def test_the_plain_manifests_are_made_of_the_chart() -> None:
    ran = subprocess.run([HELM, RENDERING, "--plain"], capture_output=True, text=True, check=True)
    assert (DEPLOY / "kubernetes" / "driftline.yaml").read_text() == ran.stdout


def test_the_chart_has_the_release_of_the_package() -> None:
    chart = (DEPLOY / "helm" / "driftline" / "Chart.yaml").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"', project, re.MULTILINE)
    assert set(re.findall(r"^(?:version|appVersion): (.+)$", chart, re.MULTILINE)) == {version}


def test_links_of_the_chart_lead_into_this_repository() -> None:
    for link in (DEPLOY / "helm" / "driftline" / "files").iterdir():
        assert not link.readlink().is_absolute()
        assert link.resolve().is_relative_to(ROOT / "examples")
