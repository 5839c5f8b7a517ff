"""Endpoints of a cluster are followed through all that an API server does to a watch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from monitor import kubernetes
from monitor.addresses import EndpointsWanted, list_fault
from monitor.engine_addresses import EngineAddresses
from monitor.kubernetes import Cluster, ClusterError, EndpointWatch, watch_of
from tests.kubernetes_api import KubernetesApi, endpoint_slice
from tests.service import until

VLLM = "kubernetes+http://vllm.models:8000"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    monkeypatch.setattr(kubernetes, "_FIRST_PAUSE_S", 0.05)
    with KubernetesApi(tmp_path) as served:
        yield served


@pytest.fixture
def watch(api: KubernetesApi) -> Iterator[EndpointWatch]:
    found = EndpointWatch(EndpointsWanted.of(VLLM), api.cluster)
    yield found
    found.stop()


def _urls(*hosts: str, port: int = 8000) -> tuple[str, ...]:
    return tuple(sorted(f"http://{host}:{port}" for host in hosts))


def _follows(watch: EndpointWatch, expected: Sequence[str]) -> None:
    until(lambda: watch.addresses() == tuple(expected), f"the endpoints {expected}")


def _opened(api: KubernetesApi, watches: int) -> None:
    until(lambda: len(_watches(api)) >= watches, f"watch {watches}")


def _reads_on(watch: EndpointWatch, api: KubernetesApi) -> None:
    """Wait until the watch is where the server is, though nothing of its own has changed."""
    until(lambda: watch._version == str(api._version), "the bookmark is read")  # noqa: SLF001


def _watches(api: KubernetesApi) -> list[dict[str, str]]:
    return [query for query in api.asked if "watch" in query]


def _lists(api: KubernetesApi) -> list[dict[str, str]]:
    return [query for query in api.asked if "watch" not in query]


def test_ready_endpoints_are_listed_and_then_followed(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True, "10.0.0.2": False, "10.0.0.3": None}))
    watch.start()
    assert watch.addresses() == _urls("10.0.0.1", "10.0.0.3")
    api.put(endpoint_slice("b", {"10.0.0.4": True}))
    _follows(watch, _urls("10.0.0.1", "10.0.0.3", "10.0.0.4"))
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    _follows(watch, _urls("10.0.0.2", "10.0.0.4"))
    api.delete("b")
    _follows(watch, _urls("10.0.0.2"))
    assert len(_lists(api)) == 1
    assert watch.fault == ""


def test_a_list_of_several_pages_is_read_to_its_end(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.page = 2
    for number in range(5):
        api.put(endpoint_slice(f"s{number}", {f"10.0.0.{number}": True}))
    watch.start()
    assert watch.addresses() == _urls(*(f"10.0.0.{number}" for number in range(5)))
    assert [query.get("continue") for query in _lists(api)] == [None, "2", "4"]


def test_a_watch_that_ends_or_breaks_goes_on_where_it_was(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    _follows(watch, _urls("10.0.0.1"))
    for number, end in enumerate((api.end_watches, api.reset, api.end_watches, api.reset)):
        until(lambda: len(_watches(api)) > number, "a watch")  # noqa: B023 (called at once)
        end()
        api.put(endpoint_slice("a", {f"10.0.1.{number}": True}))
        _follows(watch, _urls(f"10.0.1.{number}"))
    assert len(_lists(api)) == 1


def test_a_bookmark_is_where_the_next_watch_begins(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: _watches(api), "a watch")
    api.bookmark()
    _reads_on(watch, api)
    api.end_watches()
    until(lambda: len(_watches(api)) > 1, "the next watch")
    assert _watches(api)[-1]["resourceVersion"] == str(api._version)  # noqa: SLF001
    assert watch.addresses() == _urls("10.0.0.1")


def test_a_place_that_the_server_forgot_is_listed_anew(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: _watches(api), "a watch")
    api.put(endpoint_slice("gone", {"10.0.0.9": True}))
    _follows(watch, _urls("10.0.0.1", "10.0.0.9"))
    api.reset()
    api.delete("gone")
    api.forget()
    _follows(watch, _urls("10.0.0.1"))
    assert len(_lists(api)) >= 2


def test_a_place_that_is_refused_before_the_watch_begins_is_listed_anew(
    api: KubernetesApi, watch: EndpointWatch
) -> None:
    api.gone_at_once = True
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: _watches(api), "a watch")
    api.refuse = 503
    api.reset()
    until(lambda: "503" in watch.fault, "nobody is answered")
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    api.forget()
    api.refuse = None
    _follows(watch, _urls("10.0.0.2"))
    until(lambda: len(_watches(api)) == 3, "the watch, its refusal, and the watch of the new list")
    assert len(_lists(api)) == 2
    assert watch.fault == ""


def test_the_last_endpoints_stay_while_the_server_is_away(
    api: KubernetesApi, watch: EndpointWatch, capfd: pytest.CaptureFixture[str]
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: _watches(api), "a watch")
    api.refuse = 503
    api.reset()
    until(lambda: "503" in watch.fault, "the fault is told")
    assert watch.addresses() == _urls("10.0.0.1")
    api.refuse = None
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    _follows(watch, _urls("10.0.0.2"))
    assert watch.fault == ""
    assert capfd.readouterr().out.count("answers 503") == 1


def test_a_rotated_token_is_read_anew(api: KubernetesApi, watch: EndpointWatch) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: _watches(api), "a watch")
    api.rotate_token()
    api.reset()
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    _follows(watch, _urls("10.0.0.2"))


def test_rights_that_are_missing_are_named(api: KubernetesApi) -> None:
    elsewhere = EndpointWatch(EndpointsWanted.of("kubernetes+http://vllm.other:8000"), api.cluster)
    said = "may not list and watch endpointslices in other"
    with pytest.raises(ClusterError, match=said):
        elsewhere.look()
    elsewhere.start()
    until(lambda: said in elsewhere.fault, "the fault is told")
    elsewhere.stop()


def test_a_look_lists_and_tries_a_watch_without_following(api: KubernetesApi) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True, "10.0.0.2": False}))
    assert EndpointWatch(EndpointsWanted.of(VLLM), api.cluster).look() == _urls("10.0.0.1")
    assert ["watch" in query for query in api.asked] == [False, True]


def test_a_look_at_an_api_server_that_is_away_says_so(tmp_path: Path) -> None:
    with KubernetesApi(tmp_path) as gone:
        cluster = gone.cluster
    with pytest.raises(ClusterError, match="ConnectionRefusedError"):
        EndpointWatch(EndpointsWanted.of(VLLM), cluster).look()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (VLLM, _urls("10.0.0.1", "10.0.0.2")),
        ("kubernetes+http://vllm.models.svc.cluster.local:8000", _urls("10.0.0.1", "10.0.0.2")),
        ("kubernetes+http://vllm.models", _urls("10.0.0.1", "10.0.0.2")),
        ("kubernetes+http://vllm.models?port=metrics", _urls("10.0.0.1", port=9000)),
        ("kubernetes+http://vllm.models:9000", _urls("10.0.0.1", port=9000)),
        ("kubernetes+http://vllm.models?port=9000", _urls("10.0.0.1", port=9000)),
        ("kubernetes+http://vllm.models:1234", ()),
        ("kubernetes+http://models:8000?selector=tier%3Dgold", _urls("10.0.0.2")),
        (
            "kubernetes+http://vllm.models:8000/api",
            ("http://10.0.0.1:8000/api", "http://10.0.0.2:8000/api"),
        ),
    ],
)
def test_service_selector_port_and_path(
    api: KubernetesApi, written: str, expected: tuple[str, ...]
) -> None:
    api.put(endpoint_slice("a", {"10.0.0.1": True}, ports={"http": 8000, "metrics": 9000}))
    api.put(endpoint_slice("b", {"10.0.0.2": True}, tier="gold"))
    api.put(endpoint_slice("six", {"fd00::1": True}, kind="IPv6"))
    found = EndpointWatch(EndpointsWanted.of(written), api.cluster)
    found.start()
    try:
        assert found.addresses() == expected
    finally:
        found.stop()


def test_where_there_is_only_ipv6_it_is_taken(api: KubernetesApi, watch: EndpointWatch) -> None:
    api.put(endpoint_slice("six", {"fd00::1": True}, kind="IPv6"))
    watch.start()
    assert watch.addresses() == ("http://[fd00::1]:8000",)


def test_breaks_and_refusals_are_never_followed_at_once(
    api: KubernetesApi, watch: EndpointWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    wait = watch._ending.wait  # noqa: SLF001 (the pauses are all there is to see)

    def noted(seconds: float) -> bool:
        waited.append(seconds)
        return wait(seconds)

    monkeypatch.setattr(watch._ending, "wait", noted)  # noqa: SLF001
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    api.always_gone = True
    watch.start()
    until(lambda: len(_watches(api)) >= 4, "four watches that are refused")
    assert len(waited) >= 3
    assert min(waited) >= kubernetes._FIRST_PAUSE_S / 2  # noqa: SLF001
    assert watch.addresses() == _urls("10.0.0.1")
    api.always_gone = False
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    _follows(watch, _urls("10.0.0.2"))


def test_a_watch_that_says_nothing_is_begun_anew(
    api: KubernetesApi, watch: EndpointWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "QUIET_S", 0.3)
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    watch.start()
    until(lambda: len(_watches(api)) >= 3, "the third watch")
    assert watch.fault == ""
    assert len(_lists(api)) == 1


def test_five_hundred_endpoints_that_churn(api: KubernetesApi, watch: EndpointWatch) -> None:
    rng = np.random.default_rng(17)
    ready: dict[str, dict[str, bool | None]] = {
        f"s{group}": {f"10.0.{group}.{n}": True for n in range(100)} for group in range(5)
    }
    for name, hosts in ready.items():
        api.put(endpoint_slice(name, hosts))
    watch.start()
    upsets = (api.reset, api.end_watches, api.forget, api.bookmark)
    due = 1
    for step in range(300):
        name = sorted(ready)[rng.integers(len(ready))]
        host = sorted(ready[name])[rng.integers(len(ready[name]))]
        if rng.random() < 0.5:
            ready[name][host] = not ready[name][host]
        else:
            del ready[name][host]
            ready[name][f"10.1.{step // 250}.{step % 250}"] = True
        api.put(endpoint_slice(name, ready[name]))
        if step % 10 < 9:
            continue
        alive = [host for hosts in ready.values() for host, is_ready in hosts.items() if is_ready]
        assert len(alive) > 300
        _follows(watch, _urls(*alive))
        _opened(api, due)  # so that an open watch is upset
        upset, opened = upsets[step // 10 % len(upsets)], len(_watches(api))
        upset()
        if upset == api.bookmark:
            _reads_on(watch, api)
        else:
            due = opened + 1
    _opened(api, due)
    assert len(_lists(api)) == 1 + 7, "once anew after each 410"
    assert len(_watches(api)) > 20
    assert watch.fault == ""


def test_no_cluster_is_named_and_keeps_nothing_else_from_working(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    found = EngineAddresses([VLLM, "http://10.0.0.9:8000"])
    assert found.now() == ("http://10.0.0.9:8000",)
    assert "runs in no Kubernetes cluster" in capfd.readouterr().out


def test_a_pod_without_an_account_is_told(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ClusterError, match="has no service account"):
        Cluster.around(environ, tmp_path)


def test_addresses_of_engines_are_those_of_this_moment(
    api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_WATCHES", {})
    api.put(endpoint_slice("a", {"10.0.0.1": True}))
    mine = watch_of(VLLM, cluster=lambda: api.cluster)
    assert watch_of(VLLM) is mine, "one for the whole process"
    found = EngineAddresses(["http://10.0.0.9:8000", VLLM], monotonic=lambda: 0.0)
    assert found.now() == ("http://10.0.0.9:8000", "http://10.0.0.1:8000")
    api.put(endpoint_slice("a", {"10.0.0.2": True}))
    until(lambda: "http://10.0.0.2:8000" in found.now(), "the new endpoint")
    api.delete("a")
    until(lambda: not mine.addresses(), "no endpoint")
    assert found.now() == ("http://10.0.0.9:8000", "http://10.0.0.1:8000"), "the last list stays"
    mine.stop()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (VLLM, None),
        ("kubernetes+http://vllm.models", None),
        ("kubernetes+http://models?selector=app%3Dvllm", None),
        ("kubernetes+https://vllm.models", "certificates name hosts"),
        ("kubernetes+http://vllm", "SERVICE.NAMESPACE"),
        ("kubernetes+http://a.b.c", "SERVICE.NAMESPACE"),
        ("kubernetes+http://u:p@vllm.models", "SERVICE.NAMESPACE"),
        ("kubernetes+http://vllm.models?prot=http", "'prot' is none of"),
        ("kubernetes+http://vllm.models:99999", "out of range"),
        ("kubernetes+http://[x", "IPv6"),
    ],
)
def test_an_address_says_what_is_wrong_with_it(address: str, said: str | None) -> None:
    fault = list_fault(address)
    assert (fault is None) is (said is None)
    assert said is None or said in (fault or "")
