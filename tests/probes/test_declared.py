"""What the operators of a cluster declare of adapters, as their own resources write it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.kubernetes import Cluster
from monitor.probes.declared import Declarations, DeclaredAdapter
from tests.kubernetes_api import KubernetesApi

STACK = "/apis/production-stack.vllm.ai/v1alpha1/namespaces/models/loraadapters"
BRIX = "/apis/model.aibrix.ai/v1alpha1/namespaces/models/modeladapters"
KSERVE = "/apis/serving.kserve.io/{}/namespaces/models/llminferenceservices"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with KubernetesApi(tmp_path) as running:
        yield running


def _read(api: KubernetesApi) -> dict[str, DeclaredAdapter]:
    return dict(Declarations(["models"], cluster=lambda: api.cluster).read())


def _of_stack(name: str, **source: str) -> dict[str, Any]:
    spec = {"baseModel": "llama", "adapterSource": {"adapterName": name, **source}}
    return {"metadata": {"name": f"{name}-adapter"}, "spec": spec, "status": {"phase": "Loaded"}}


def test_the_production_stack_says_where_an_adapter_is_from(api: KubernetesApi) -> None:
    api.have(
        STACK,
        [
            _of_stack("sql", type="huggingface", repository="yard1/llama-2-7b-sql-lora-test"),
            _of_stack("tax", type="s3", repository="adapters/tax/v3"),
            _of_stack("legal", type="local", adapterPath="/data/legal"),
            _of_stack("web", type="http", repository="https://files.test/web.tar"),
        ],
    )
    found = _read(api)
    assert {name: one.uri for name, one in found.items()} == {
        "sql": "hf://yard1/llama-2-7b-sql-lora-test",
        "tax": "s3://adapters/tax/v3",
        "legal": "/data/legal",
        "web": None,
    }
    assert {one.base for one in found.values()} == {"llama"}


def test_aibrix_names_an_adapter_as_its_resource(api: KubernetesApi) -> None:
    labels = {
        "driftline/owner": "payments",
        "driftline/tier": "gold",
        "driftline/team": "a",
        "x": "y",
    }
    lora = {
        "metadata": {"name": "qwen-lora", "labels": labels},
        "spec": {"baseModel": "qwen", "artifactURL": "huggingface://org/lora"},
    }
    bucket = {"metadata": {"name": "bucket"}, "spec": {"artifactURL": "gcs://adapters/one"}}
    api.have(BRIX, [lora, bucket])
    found = _read(api)
    first = found["qwen-lora"]
    assert (first.uri, first.base) == ("hf://org/lora", "qwen")
    assert (first.owner, first.tier, dict(first.others)) == ("payments", "gold", {"team": "a"})
    assert (found["bucket"].uri, found["bucket"].base) == ("gs://adapters/one", None)


@pytest.mark.parametrize(
    ("labels", "version"),
    [
        ({"driftline/adapter": "support", "driftline/version": "v7"}, ("support", "v7")),
        ({"driftline/adapter": "support"}, None),
        ({"driftline/version": "v7"}, None),
        ({"driftline/adapter": "", "driftline/version": "v7"}, None),
    ],
)
def test_labels_say_which_version_it_is(
    api: KubernetesApi, labels: dict[str, str], version: tuple[str, str] | None
) -> None:
    brix = {"metadata": {"name": "support-v7", "labels": labels}, "spec": {}}
    stack = _of_stack("sql", type="local", adapterPath="/data/sql")
    stack["metadata"]["labels"] = labels
    api.have(BRIX, [brix])
    api.have(STACK, [stack])
    found = _read(api)
    assert [found[name].version for name in ("support-v7", "sql")] == [version] * 2
    assert found["support-v7"].others == {}


def test_labels_of_a_service_name_none_of_its_adapters(api: KubernetesApi) -> None:
    labels = {"driftline/adapter": "support", "driftline/version": "v7"}
    lora = {"adapters": [{"name": "sql", "uri": "hf://org/sql"}]}
    service = {"metadata": {"name": "qwen", "labels": labels}, "spec": {"model": {"lora": lora}}}
    api.have(KSERVE.format("v1alpha2"), [service])
    assert _read(api)["sql"].version is None


@pytest.mark.parametrize("name", ["support@v7", "Support", "support_v7", "-support", ""])
def test_the_api_server_takes_no_other_names_than_kubernetes(api: KubernetesApi, name: str) -> None:
    with pytest.raises(AssertionError):
        api.have(BRIX, [{"metadata": {"name": name}, "spec": {}}])


@pytest.mark.parametrize("version", ["v1alpha1", "v1alpha2"])
def test_kserve_lists_the_adapters_of_a_service(api: KubernetesApi, version: str) -> None:
    lora = {
        "adapters": [{"name": "sql", "uri": "hf://org/sql"}, {"name": "code", "uri": "s3://b/c"}]
    }
    model = {"uri": "hf://Qwen/Qwen2.5-7B", "name": "Qwen/Qwen2.5-7B", "lora": lora}
    volume = {"name": "on-a-volume", "uri": "pvc://adapters/one"}
    services: list[dict[str, Any]] = [
        {"metadata": {"name": "qwen"}, "spec": {"model": model}},
        {"metadata": {"name": "plain"}, "spec": {"model": {"uri": "hf://a/b"}}},
        {"metadata": {"name": "by-reference"}, "spec": {"baseRefs": [{"name": "x"}]}},
        {
            "metadata": {"name": "llama", "labels": {"driftline/owner": "care"}},
            "spec": {"model": {"uri": "hf://a/b", "lora": {"adapters": [volume]}}},
        },
    ]
    api.have(KSERVE.format(version), services)
    found = _read(api)
    assert {name: (one.uri, one.base) for name, one in found.items()} == {
        "sql": ("hf://org/sql", "Qwen/Qwen2.5-7B"),
        "code": ("s3://b/c", "Qwen/Qwen2.5-7B"),
        "on-a-volume": (None, "llama"),
    }
    assert found["on-a-volume"].owner == "care"


def test_every_page_is_read_and_what_is_no_adapter_loses_no_other(
    api: KubernetesApi, capfd: pytest.CaptureFixture[str]
) -> None:
    api.page = 2
    adapters: list[dict[str, Any]] = [{"metadata": {"name": f"a{n}"}, "spec": {}} for n in range(5)]
    adapters.insert(3, {"metadata": {"name": "other", "labels": {}}, "spec": []})
    api.have(BRIX, adapters)
    declarations = Declarations(["models"], cluster=lambda: api.cluster)
    for _ in range(2):
        assert sorted(declarations.read()) == [f"a{n}" for n in range(5)]
    assert "".join(capfd.readouterr()).count("declared_adapters_not_read") == 1


def test_where_nobody_may_ask_nothing_is_declared_and_it_is_said(
    api: KubernetesApi, capfd: pytest.CaptureFixture[str]
) -> None:
    api.refuse = 403
    refused = Declarations(["models"], cluster=lambda: api.cluster)
    nowhere = Declarations(["models"], cluster=lambda: Cluster.around({}))
    for one in (refused, nowhere):
        assert one.read() == {}
        assert not one.whole
    said = "".join(capfd.readouterr())
    assert "the API server answers 403" in said
    assert "this process runs in no Kubernetes cluster" in said
    assert Declarations([], cluster=lambda: api.cluster).read() == {}
    api.refuse = None
    assert refused.read() == {}
    assert refused.whole


def test_a_list_that_breaks_off_is_left_out_and_loses_no_other(
    api: KubernetesApi, capfd: pytest.CaptureFixture[str]
) -> None:
    api.have(STACK, [_of_stack("sql", type="local", adapterPath="/data/sql")])
    api.have(BRIX, [{"metadata": {"name": "qwen-lora"}, "spec": {}}])
    api.breaks_off = {STACK}
    declarations = Declarations(["models"], cluster=lambda: api.cluster)
    assert list(declarations.read()) == ["qwen-lora"]
    assert not declarations.whole
    assert "IncompleteRead" in "".join(capfd.readouterr())
    api.breaks_off = set()
    assert list(declarations.read()) == ["sql", "qwen-lora"]
    assert declarations.whole
