"""What `doctor` finds of machines that an installation depends on."""

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme
from sqlalchemy.engine import URL, make_url

from monitor.daemon.checkup import reached
from monitor.kubernetes import Cluster
from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from monitor.store import clock, schema
from monitor.store.database import Database
from monitor.store.standby import read_pages
from tests.cli.examined import examine
from tests.gateway.conftest import listening
from tests.kubernetes_api import KubernetesApi, endpoint_slice
from tests.loopback import Receiver, unused_port
from tests.mail_server import MailReceiver
from tests.oidc_provider import CLIENT, BendableProvider
from tests.pooler import plain, through_pgbouncer
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as faked
from tests.servers import pair
from tests.service import until

Findings = list[dict[str, str]]


def _slack(name: str, url: str) -> str:
    return f'[[channels]]\nname = "{name}"\nkind = "slack"\nurl = "{url}/PATH-SECRET"\n'


def _channels(
    folder: Path, *entries: str, allow: str = "127.0.0.0/8", authority: Path | None = None
) -> tuple[int, Findings]:
    """Examine an installation with these channels."""
    trusted = f'ca_file = "{authority}"\n' if authority else ""
    text = f'[outgoing]\nallow = ["{allow}"]\n{trusted}' + "\n".join(entries)
    (folder / "config.toml").write_text(text)
    code, found = examine(folder)
    assert "SECRET" not in json.dumps(found)
    return code, found["channels"]


def _tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    made, file = trustme.CA(), tmp_path / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    return made, file


def test_each_channels_receiver_is_reached_and_sent_nothing(
    tmp_path: Path, authority: tuple[trustme.CA, Path]
) -> None:
    made, file = authority
    with Receiver() as plain, Receiver(tls=_tls(made)) as secure, MailReceiver() as mail:
        code, found = _channels(
            tmp_path,
            _slack("chat", plain.url),
            _slack("team", secure.url),
            '[[channels]]\nname = "mail"\nkind = "email"\nhost = "127.0.0.1"\n'
            f'port = {mail.port}\nsender = "d@example.com"\nto = ["ann@example.com"]\n',
            '[[channels]]\nname = "lines"\nkind = "log"\n',
            authority=file,
        )
        assert code == 0
        assert [one["found"] for one in found] == [
            f"chat (slack): http://127.0.0.1:{plain.port}/… is reached",
            f"team (slack): https://127.0.0.1:{secure.port}/… is reached",
            f"mail (email): smtp://127.0.0.1:{mail.port}/… is reached",
            "lines (log): it writes on this machine",
        ]
        assert found[0]["advice"] == "`driftline channels test chat` sends it a message"
        asked: list[Receiver | MailReceiver] = [plain, secure, mail]
        until(lambda: [one.connections for one in asked] == [1, 1, 1], "a connection to each")
        assert [one.seen for one in asked] == [[], [], []]


def test_a_receiver_that_is_not_reached_is_a_fault_with_its_mend(
    tmp_path: Path, authority: tuple[trustme.CA, Path]
) -> None:
    with Receiver(tls=_tls(trustme.CA())) as stranger:
        code, (away, unknown) = _channels(
            tmp_path,
            _slack("away", f"http://127.0.0.1:{unused_port()}"),
            _slack("unknown", stranger.url),
            authority=authority[1],
        )
    assert code == 1
    assert away["health"] == unknown["health"] == "fault"
    assert away["found"] == "away (slack): 127.0.0.1: Connection refused"
    assert "firewall" in away["advice"]
    assert unknown["found"].startswith("unknown (slack): TLS with 127.0.0.1 failed: certificate")
    assert unknown["advice"].startswith("outgoing.ca_file")


def test_a_receiver_that_may_not_be_reached_is_asked_for_no_connection(tmp_path: Path) -> None:
    with Receiver() as private:
        code, [fault] = _channels(tmp_path, _slack("chat", private.url), allow="10.0.0.0/8")
        assert private.connections == 0
    assert code == 1
    assert "may not reach" in fault["found"]
    assert fault["advice"].startswith("outgoing.allow")


def test_receivers_that_hang_are_waited_for_together(tmp_path: Path) -> None:
    """One after the other, the first would be waited for until its time is over."""
    met = threading.Barrier(3)

    def meet(_connection: socket.socket) -> None:
        met.wait(60)

    with Receiver([meet], speaks_first=True) as server:
        url = server.url.replace("http:", "https:")
        code, found = _channels(tmp_path, *(_slack(f"c{n}", url) for n in range(3)))
    assert code == 1
    assert len(found) == 3
    assert all("TLS with 127.0.0.1 failed" in one["found"] for one in found)


def test_a_receiver_that_hangs_is_waited_for_no_longer_than_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass

    monkeypatch.setattr(reached, "ANSWER_S", 0.3)
    with Receiver([hang], speaks_first=True) as server:
        url = server.url.replace("http:", "https:")
        _, [fault] = _channels(tmp_path, _slack("chat", url))
    assert fault["found"] == "chat (slack): no complete answer within 0.3 s"


def test_the_provider_of_logins_is_asked_what_it_says_of_itself(tmp_path: Path) -> None:
    provider = BendableProvider(claims={})
    given = {
        "SERVER__PUBLIC_URL": "https://driftline.example",
        "OIDC__CLIENT_ID": CLIENT,
        "OIDC__GROUPS": '{staff = {scopes = ["read"]}}',
    }
    with listening(provider.app()) as issuer:
        code, found = examine(tmp_path, OIDC__ISSUER=issuer, **given)
        assert (code, found["login"][0]["health"]) == (0, "fine")
        provider.issuer = "https://elsewhere.example"
        code, found = examine(tmp_path, OIDC__ISSUER=issuer, **given)
        assert (code, found["login"][0]["health"]) == (1, "fault")
        assert "another name than oidc.issuer" in found["login"][0]["found"]
    code, found = examine(tmp_path, OIDC__ISSUER=issuer, **given)
    assert code == 1
    assert "cannot be asked" in found["login"][0]["found"]
    assert "oidc.issuer" in found["login"][0]["advice"]


@pytest.mark.skipif(
    choose_account(find_binaries()).switch, reason="the kernel refuses user namespaces"
)
def test_the_collector_of_traces_is_reached_and_sent_nothing(tmp_path: Path) -> None:
    with Receiver() as collector:
        url = f"http://{collector.host}:{collector.port}"
        code, found = examine(tmp_path, SERVICE__TRACES=url)
    assert (code, [one["found"] for one in found["traces"]]) == (0, [f"{url} is reached"])
    assert not collector.seen
    code, found = examine(tmp_path, SERVICE__TRACES=url)
    [away] = found["traces"]
    assert (code, away["health"]) == (1, "fault")
    assert away["found"].startswith(f"{url}: ")
    assert "name server, firewall" in away["advice"]


def test_without_the_extra_the_traces_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "monitor.tracing.exporting", None)
    code, found = examine(tmp_path, SERVICE__TRACES="http://collector:4318")
    [fault] = found["traces"]
    assert (code, fault["health"]) == (1, "fault")
    assert fault["found"].endswith("pip install 'driftline[traces]'")


def test_a_standby_of_an_old_server_is_told_by_its_own_address(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.daemon.database.OLDEST_SERVER", 990_000)
    _, found = examine(tmp_path, DATABASE__URL=database_url, DATABASE__STANDBY_URL=database_url)
    told = [found[part][0]["found"].partition(" ")[0] for part in ("database", "standby")]
    assert told == ["database.url", "database.standby_url"]


@pytest.mark.parametrize(("part", "name"), [("direct", "direct_url"), ("owner", "owner_url")])
def test_each_way_to_the_database_is_looked_at(
    database_url: str, tmp_path: Path, part: str, name: str
) -> None:
    """Before, such an address was tried by the service alone."""
    key, url = f"DATABASE__{name.upper()}", make_url(database_url)

    def looked(at: URL, *, through: URL = url) -> tuple[int, str, str, str]:
        given = {"DATABASE__URL": _text(through), key: _text(at)}
        code, found = examine(tmp_path, **given)
        [one] = found[part]
        return code, one["health"], one["found"], one["advice"]

    away = url.set(host="127.0.0.1", port=unused_port(), query={})
    assert looked(url) == (0, "fine", f"database.{name} leads to the same database", "")
    assert looked(url.set(database="postgres"))[:3] == (
        1,
        "fault",
        f"database.{name} leads to another database than database.url",
    )
    code, health, reason, advice = looked(away)
    assert (code, health) == (1, "fault")
    assert "refused" in reason
    assert advice.startswith(f"check database.{name}, ")
    assert looked(url, through=away)[1:3] == ("fine", f"database.{name} is reached")


def _text(url: URL) -> str:
    """Write an address with its password."""
    return url.render_as_string(hide_password=False)


def test_a_pooler_on_the_way_is_told_with_the_address_that_is_wanted(
    database_url: str, tmp_path: Path
) -> None:
    (folder := tmp_path / "pooler").mkdir()
    with through_pgbouncer(database_url, folder) as pooled:
        code, found = examine(tmp_path, DATABASE__URL=plain(pooled))
        [told] = found["database"]
        assert (code, told["health"]) == (1, "fault")
        assert "unsupported startup parameter" in told["found"]
        assert told["advice"].startswith(
            "a pooler is on the way: let database.direct_url lead past it"
        )
        given = {"DATABASE__URL": pooled, "DATABASE__DIRECT_URL": database_url}
        code, found = examine(tmp_path, **given)
        assert (code, found["direct"][0]["health"]) == (0, "fine")
        owner = f"{pooled}?application_name=owner"
        code, found = examine(tmp_path, DATABASE__OWNER_URL=owner, **given)
        assert code == 1
        assert "let database.owner_url lead past it" in found["owner"][0]["advice"]


def test_a_standby_is_read_through_a_pooler(tmp_path: Path) -> None:
    """Before, PgBouncer refused the connection, and the primary was read without end."""
    (folder := tmp_path / "pooler").mkdir()
    with pair(tmp_path, synchronous=False) as (first, second):
        made = Database(first.url)
        schema.migrate(made)
        made.run(clock.Watcher().look)
        made.close()
        trusted = _text(make_url(second.url).set(password="any"))  # noqa: S106 (it asks for none)
        with through_pgbouncer(trusted, folder) as pooled:
            given = {"DATABASE__URL": first.url, "DATABASE__STANDBY_URL": pooled}
            until(
                lambda: examine(tmp_path, **given)[1]["standby"][0]["health"] == "fine",
                "the standby to follow",
            )
            database = Database(first.url, standby=pooled)
            asked = sa.text("SELECT pg_is_in_recovery(), current_setting('statement_timeout')")
            read_pages()
            try:
                found = database.run(lambda tx: tuple(tx.execute(asked).one()))
            finally:
                read_pages(on=False)
                database.close()
    assert found == (True, "30s")


def test_a_standby_is_looked_at_as_before_pages_are_read_there(tmp_path: Path) -> None:
    with pair(tmp_path, synchronous=False) as (first, second):

        def looked(url: str = second.url) -> dict[str, str]:
            _, found = examine(tmp_path, DATABASE__URL=first.url, DATABASE__STANDBY_URL=url)
            [one] = found["standby"]
            return one

        assert looked()["health"] == "note"
        database = Database(first.url)
        schema.migrate(database)
        database.run(clock.Watcher().look)
        until(lambda: looked()["health"] == "fine", "the standby to follow")
        later = "jsonb_set(value, '{seen}', to_jsonb(clock_timestamp() - interval '1 hour'))"
        with database.begin() as tx:
            tx.execute(sa.text(f"UPDATE flags SET value = {later} WHERE name = 'clock'"))
        until(lambda: looked()["health"] == "note", "what is old")
        database.close()
        assert looked(first.url)["found"].startswith("it is no standby")
        second.kill()
        away = looked()
    assert away["health"] == "fault"
    assert "refused" in away["found"]
    assert away["advice"].startswith("check database.standby_url")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A cluster around this process, whose service account may follow one namespace."""
    with KubernetesApi(tmp_path) as api:
        found = api.cluster
        monkeypatch.setattr(Cluster, "around", lambda _environ: found)
        yield api


def test_a_service_account_is_tried_on_the_endpoints_that_it_is_to_follow(
    cluster: KubernetesApi, tmp_path: Path
) -> None:
    may, may_not = "kubernetes+http://vllm.models", "kubernetes+http://vllm.other"
    with faked(FakeEngine()) as engine:
        port = int(engine.rpartition(":")[2])
        cluster.put(endpoint_slice("a", {"127.0.0.1": True}, ports={"http": port}))
        code, found = examine(tmp_path, SERVING__ENGINES=json.dumps([may, may_not]))
    assert code == 1
    fine, fault = found["cluster"]
    assert fine["found"] == f"{may}: the service account may follow its endpoints, 1 ready"
    assert fault["found"] == (
        f"{may_not}: its service account may not list and watch endpointslices in other"
    )
    assert "service account may list and watch endpointslices" in fault["advice"]
    assert found["engines"][0]["found"] == f"{engine}: 2 models, 1 of them adapters"


def test_a_service_account_is_tried_on_what_declares_adapters(
    cluster: KubernetesApi, tmp_path: Path
) -> None:
    of_stack, of_brix = (
        f"/apis/{kind}"
        for kind in (
            "production-stack.vllm.ai/v1alpha1/namespaces/models/loraadapters",
            "model.aibrix.ai/v1alpha1/namespaces/models/modeladapters",
        )
    )
    cluster.have(of_stack, [{"metadata": {"name": name}} for name in ("a", "b")])
    cluster.forbidden = {of_brix}
    code, found = examine(tmp_path, SERVING__DECLARED_IN='["models"]')
    assert code == 1
    listed, refused, unknown = found["cluster"]
    assert (listed["health"], refused["health"], unknown["health"]) == ("fine", "fault", "fine")
    assert listed["found"] == "loraadapters in models: 2 are listed"
    assert refused["found"] == "its service account may not list modeladapters in models"
    assert (
        "apiGroups [model.aibrix.ai], resources [modeladapters], verbs [list]"
        in (refused["advice"])
    )
    assert unknown["found"] == "llminferenceservices in models: the cluster has no such kind"


def test_no_cluster_around_this_process_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    code, found = examine(tmp_path, SERVING__ENGINES='["kubernetes+http://vllm.models"]')
    assert code == 1
    assert found["cluster"][0]["found"].endswith("this process runs in no Kubernetes cluster")
    code, found = examine(tmp_path, SERVING__DECLARED_IN='["models"]')
    assert code == 1
    assert found["cluster"][0]["found"].startswith("serving.declared_in: this process runs in no")
