import gzip
import os
import socket
import ssl
import threading
import traceback
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from alerts.outgoing import (
    Blocked,
    Broken,
    ConnectFailed,
    OutgoingClient,
    OutgoingPolicy,
    TimedOut,
    redacted,
)
from tests.loopback import (
    LOOPBACK,
    Behaviour,
    Receiver,
    answer,
    drip_body,
    drip_head,
    for_ever,
    raw,
    reset,
    unused_port,
)

LOCAL = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
SOON = 0.3
CONTINUE = b"HTTP/1.1 100 x\r\n\r\n"


def test_sends_exactly_the_bytes_and_gives_back_the_answer() -> None:
    body = bytes(range(256))
    with Receiver([answer(201, headers={"X-Id": "7"}, body=b"taken")]) as receiver:
        reply = LOCAL.post(receiver.url + "?a=b", body=body, headers={"Content-Type": "x/y"})
    assert (reply.status, reply.headers["x-id"], reply.body_start) == (201, "7", b"taken")
    seen = receiver.seen[0]
    assert (seen.method, seen.path, seen.body) == ("POST", "/hook?a=b", body)
    assert seen.headers["content-type"] == "x/y"
    assert seen.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_gets() -> None:
    with Receiver([answer(200, body=b"ok")]) as receiver:
        reply = LOCAL.get(receiver.url)
    assert (reply.status, reply.body_start, receiver.seen[0].method) == (200, b"ok", "GET")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address to refuse, not to listen on
        "127.255.255.254",
        "[::1]",
        "[::]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "10.0.0.1",
        "169.254.169.254",
        "192.0.0.8",
        "224.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "①②⑦.⓪.⓪.①",  # circled digits, which IDNA folds to 127.0.0.1
        "127。0。0。1",
    ],
)
def test_no_spelling_of_an_inside_address_gets_through(host: str) -> None:
    client = OutgoingClient(OutgoingPolicy(connect_timeout=SOON))
    with Receiver() as receiver, pytest.raises((Blocked, ConnectFailed)):
        client.get(f"http://{host}:{receiver.port}/")
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "//example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "unix:///run/x.sock",
        "http://user:pw@example.com/",
        "http://user@example.com/",
        "http:///path",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://example.com/\r\nX: y",
        "http://[::1/",
    ],
)
def test_a_url_that_can_never_be_permitted_is_refused_without_the_network(url: str) -> None:
    with pytest.raises(Blocked):
        LOCAL.check(url)
    with pytest.raises(Blocked):
        LOCAL.get(url)


@pytest.mark.parametrize("url", ["smtp://mail.example.com:x", "http://[::1/", "http://a:x/"])
def test_nothing_is_reached_by_what_is_no_url(url: str) -> None:
    with pytest.raises(Blocked, match=r"^not a valid URL$"):
        LOCAL.reach(url)


def test_schemes_and_ports_can_be_narrowed() -> None:
    strict = OutgoingClient(
        OutgoingPolicy(schemes=frozenset({"https"}), ports=frozenset({443, 8443}))
    )
    strict.check("https://example.com/")
    strict.check("https://example.com:8443/")
    with pytest.raises(Blocked, match="scheme"):
        strict.check("http://example.com/")
    with pytest.raises(Blocked, match="port 22"):
        strict.check("https://example.com:22/")


class Names:
    """A name server that gives its answers in turn and counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        del host, port
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_one_bad_address_among_good_ones_blocks_the_name() -> None:
    with Receiver(host="127.0.0.2") as good:
        names = Names(["127.0.0.2", "127.0.0.1"])
        client = OutgoingClient(OutgoingPolicy(allow=("127.0.0.2/32",)), resolver=names)
        with pytest.raises(Blocked, match=r"hooks\.example"):
            client.get(f"http://hooks.example:{good.port}/")
    assert good.connections == 0


def test_a_rebinding_name_is_resolved_once_and_never_reaches_the_second_address() -> None:
    with (
        Receiver(host="127.0.0.2") as good,
        Receiver(host="127.0.0.1", port=good.port) as bad,
    ):
        names = Names(["127.0.0.2"], ["127.0.0.1"])
        client = OutgoingClient(OutgoingPolicy(allow=("127.0.0.2/32",)), resolver=names)
        url = f"http://hooks.example:{good.port}/"
        assert client.get(url).status == 204
        assert (names.asked, good.connections, bad.connections) == (1, 1, 0)
        with pytest.raises(Blocked):
            client.get(url)
        assert (names.asked, good.connections, bad.connections) == (2, 1, 0)


def test_the_next_address_is_tried_when_nobody_listens_at_the_first() -> None:
    with Receiver(host="127.0.0.2") as good:
        names = Names(["127.0.0.3", "127.0.0.2"])
        client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK), resolver=names)
        assert client.get(f"http://hooks.example:{good.port}/").status == 204


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert "http_proxy" in os.environ
        assert OutgoingClient(OutgoingPolicy(allow=LOOPBACK)).get(receiver.url).status == 204
    assert (proxy.connections, receiver.connections) == (0, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    with Receiver() as elsewhere:
        moved = answer(status, headers={"location": elsewhere.url})
        with Receiver([moved]) as receiver:
            reply = LOCAL.post(receiver.url, body=b"x", headers={})
    assert (reply.status, elsewhere.connections) == (status, 0)


@pytest.mark.parametrize(
    "drip",
    [
        pytest.param(drip_body(), id="body"),
        pytest.param(drip_head(), id="headers"),
        pytest.param(
            for_ever(b"HTTP/1.1 100 x\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\n", pause=0.02), id="1xx"
        ),
        pytest.param(lambda _: threading.Event().wait(60), id="silence"),
    ],
)
def test_a_server_that_never_finishes_is_cut_at_the_total_timeout(drip: Behaviour) -> None:
    # The server goes on for ever: that this returns at all is the proof.
    with Receiver([drip]) as receiver, pytest.raises(TimedOut):
        LOCAL.get(receiver.url, timeout=SOON)


def test_the_server_sees_that_it_was_cut() -> None:
    with Receiver([drip_body()]) as receiver:
        with pytest.raises(TimedOut):
            LOCAL.get(receiver.url, timeout=SOON)
        assert receiver.hung_up.wait(10)


def test_a_receiver_that_does_not_read_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(TimedOut):
            LOCAL.post(url, body=bytes(32 * 2**20), headers={}, timeout=SOON)


def test_a_resolver_that_hangs_is_given_up() -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        del host, port
        release.wait()
        return ["127.0.0.1"]

    client = OutgoingClient(OutgoingPolicy(connect_timeout=SOON), resolver=hang)
    with pytest.raises(TimedOut, match="resolved"):
        client.get("http://hooks.example/")
    release.set()


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(reset, id="RST"),
        pytest.param(raw(b""), id="closed at once"),
        pytest.param(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), id="half a body"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000), id="endless header"),
    ],
)
def test_a_broken_answer_is_told_apart(behaviour: Behaviour) -> None:
    with Receiver([behaviour]) as receiver, pytest.raises(Broken):
        LOCAL.get(receiver.url)


def test_nobody_listening_is_told_apart() -> None:
    with pytest.raises(ConnectFailed, match="Connection refused"):
        LOCAL.get(f"http://127.0.0.1:{unused_port()}/")


def test_a_compressed_bomb_is_neither_unpacked_nor_read_to_its_end() -> None:
    bomb = gzip.compress(bytes(128 * 2**20))
    answered = answer(200, headers={"content-encoding": "gzip"}, body=bomb)
    with Receiver([answered]) as receiver:
        tracemalloc.start()
        reply = LOCAL.get(receiver.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(bomb) > 64 * 1024
    assert (reply.body_start, reply.truncated) == (bomb[: 64 * 1024], True)
    assert peak < 2**20


def test_an_endless_body_is_dropped_at_the_limit() -> None:
    chunks = for_ever(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"1000\r\n" + b"z" * 0x1000 + b"\r\n",
        pause=0,
    )
    small = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=10_000))
    with Receiver([chunks]) as receiver:
        reply = small.get(receiver.url)
    assert (reply.body_start, reply.truncated) == (b"z" * 10_000, True)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def serving(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA, folder: Path) -> OutgoingClient:
    file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return OutgoingClient(OutgoingPolicy(allow=LOOPBACK, ca_file=str(file)))


def test_a_certificate_of_a_trusted_authority_is_accepted(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with Receiver(tls=serving(authority, "127.0.0.1")) as receiver:
        assert trusting(authority, tmp_path).get(receiver.url).status == 204


def test_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with (
        Receiver(tls=serving(authority, "127.0.0.1")) as receiver,
        pytest.raises(ConnectFailed, match="certificate refused"),
    ):
        LOCAL.post(receiver.url, body=b"secret", headers={})
    assert receiver.seen == []


def test_http_is_offered_only_where_it_is_spoken(authority: trustme.CA, tmp_path: Path) -> None:
    speaks_http = serving(authority, "127.0.0.1")
    speaks_http.set_alpn_protocols(["http/1.1"])
    client = trusting(authority, tmp_path)
    with Receiver(tls=speaks_http) as receiver:
        assert client.get(receiver.url).status == 204
        with client.connection(receiver.host, receiver.port, tls=True) as stream:
            assert stream.get_extra_info("ssl_object").selected_alpn_protocol() is None


def test_a_file_of_authorities_that_is_not_there_is_told_before_the_first_request() -> None:
    with pytest.raises(FileNotFoundError):
        OutgoingClient(OutgoingPolicy(ca_file="nowhere.pem"))


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    with (
        Receiver(tls=serving(authority, "other.example")) as receiver,
        pytest.raises(ConnectFailed, match="certificate refused"),
    ):
        trusting(authority, tmp_path).get(receiver.url)
    assert receiver.seen == []


def test_tls_with_a_server_that_speaks_none_fails() -> None:
    with Receiver([answer(200)]) as receiver, pytest.raises((ConnectFailed, TimedOut)):
        LOCAL.get(receiver.url.replace("http:", "https:"), timeout=SOON)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/T0/B1/s3cret", "https://hooks.example.com/…"),
        ("https://u:s3cret@hooks.example.com:8443/?key=s3cret", "https://hooks.example.com:8443/…"),
        ("http://[::1]:9/s3cret#s3cret", "http://[::1]:9/…"),
        ("https://[::1/s3cret", "(not a URL)"),
    ],
)
def test_a_redacted_url_names_its_host_only(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_errors_name_no_path_query_or_header() -> None:
    secret = "hunter2"  # noqa: S105 - planted, to be looked for
    url = f"http://127.0.0.1:{unused_port()}/{secret}?k={secret}"
    with pytest.raises(ConnectFailed) as caught:
        LOCAL.post(url, body=secret.encode(), headers={"a": secret})
    assert secret not in "".join(traceback.format_exception(caught.value))
    with Receiver() as receiver, pytest.raises(Blocked) as refused:
        LOCAL.get(receiver.url, headers={"authorization": f"{secret}\r\nx: y"})
    assert secret not in "".join(traceback.format_exception(refused.value))


def test_many_threads_may_share_a_client() -> None:
    statuses: list[int] = []
    with Receiver() as receiver:
        threads = [
            threading.Thread(target=lambda: statuses.append(LOCAL.get(receiver.url).status))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [204] * 16
