"""Engines that a real name server lists as SRV records, by host and port."""

from collections.abc import Callable, Iterator

import dns.rcode
import pytest

from monitor import srv
from monitor.engine_addresses import EngineAddresses
from tests.name_server import NameServer, listening
from tests.test_engine_addresses import Hands, looked_again

SERVICE = "_http._tcp.vllm.llm.svc.test."
WRITTEN = "dns+http://_http._tcp.vllm.llm.svc.test"
ONE, TWO = "http://vllm-0.vllm.llm.svc.test:8000", "http://vllm-1.vllm.llm.svc.test:9000"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    records = ["0 50 8000 vllm-0.vllm.llm.svc.test.", "0 50 9000 vllm-1.vllm.llm.svc.test."]
    with listening(NameServer({SERVICE: records})) as running:
        monkeypatch.setattr(srv, "resolver", running.resolver)
        yield running


@pytest.fixture
def clock() -> Hands:
    return Hands()


def test_each_record_is_a_replica_with_its_host_and_port(server: NameServer) -> None:
    assert EngineAddresses([WRITTEN]).now() == (ONE, TWO)
    assert server.asked == [("udp", SERVICE)]


@pytest.mark.usefixtures("server")
def test_the_path_is_every_replicas() -> None:
    assert EngineAddresses([f"{WRITTEN}/engine/v1"]).now() == (f"{ONE}/engine", f"{TWO}/engine")


def test_a_name_is_looked_up_where_the_system_searches(server: NameServer) -> None:
    assert EngineAddresses(["dns+http://_http._tcp.vllm"]).now() == (ONE, TWO)
    assert server.asked == [("udp", SERVICE)]
    assert EngineAddresses(["dns+http://_http._tcp.vllm.llm"]).now() == (ONE, TWO)
    assert [name for _, name in server.asked[1:]] == ["_http._tcp.vllm.llm.llm.svc.test.", SERVICE]


def test_priority_and_weight_leave_no_replica_out(server: NameServer) -> None:
    server.services[SERVICE] = ["20 0 9000 vllm-1.vllm.llm.svc.test.", "10 7 8000 VLLM-0.vllm.llm."]
    assert EngineAddresses([WRITTEN]).now() == ("http://vllm-0.vllm.llm:8000", TWO)


def test_an_answer_that_is_too_long_for_a_datagram_comes_over_tcp(server: NameServer) -> None:
    hosts = [f"vllm-{number:03}.vllm.llm.svc.test" for number in range(500)]
    server.services[SERVICE] = [f"0 1 8000 {host}." for host in hosts]
    assert EngineAddresses([WRITTEN]).now() == tuple(f"http://{host}:8000" for host in hosts)
    assert [protocol for protocol, _ in server.asked] == ["udp", "tcp"]


def _unknown(server: NameServer) -> None:
    server.services.clear()


def _failing(server: NameServer) -> None:
    server.fails = dns.rcode.SERVFAIL


def _refusing(server: NameServer) -> None:
    server.fails = dns.rcode.REFUSED


def _silent(server: NameServer) -> None:
    server.silent = True


def _without_records(server: NameServer) -> None:
    server.services[SERVICE] = []


def _nowhere(server: NameServer) -> None:
    server.services[SERVICE] = ["0 0 0 ."]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_unknown, "None of DNS query names exist"),
        (_failing, "answered SERVFAIL"),
        (_refusing, "answered REFUSED"),
        (_silent, "The resolution lifetime expired"),
        (_without_records, "does not contain an answer"),
        (_nowhere, "it gives no address"),
    ],
)
def test_the_last_list_stays_while_there_is_none_and_the_log_says_why(
    server: NameServer,
    clock: Hands,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[NameServer], None],
    said: str,
) -> None:
    found = EngineAddresses([WRITTEN], monotonic=clock)
    assert found.now() == (ONE, TWO)
    change(server)
    looked_again(found, clock)
    assert found.now() == (ONE, TWO)
    assert said in found.fault_of(WRITTEN)
    told = "".join(capfd.readouterr())
    assert told.count("engines_not_found") == 1
    assert said in told
    assert "kept=2" in told or '"kept": 2' in told, told


def test_replicas_come_and_go_without_a_restart(server: NameServer, clock: Hands) -> None:
    found = EngineAddresses([WRITTEN], monotonic=clock)
    assert found.now() == (ONE, TWO)
    server.services[SERVICE] = ["0 0 9000 vllm-1.vllm.llm.svc.test.", "0 0 80 late.test."]
    looked_again(found, clock)
    assert found.now() == ("http://late.test:80", TWO)
    assert found.fault_of(WRITTEN) == ""
