"""What the command line says before any service answers."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from monitor.cli.app import app
from monitor.cli.examples import EXAMPLES
from monitor.cli.screen import plain
from tests.cli.command import ROOT, driftline, failed, process
from tests.loopback import Receiver, answer, unused_port

HEAVY = ("torch", "evidently", "scipy.stats", "pandas", "transformers", "sentence_transformers")
"""A second or more each: whoever asks for help or checks a config does not wait for them."""


def commands(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *path, name)


EVERY_COMMAND = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=lambda path: " ".join(path) or "driftline")
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", ""), f"{path}: {parameter.name}"


def test_every_command_shows_an_example_that_it_understands() -> None:
    leaves = [
        path
        for path in EVERY_COMMAND
        if path and not any(other[:-1] == path for other in EVERY_COMMAND)
    ]
    assert {" ".join(path) for path in leaves} == set(EXAMPLES)
    for path in leaves:
        command = typer.main.get_command(app)
        for name in path:
            command = command.commands[name]  # type: ignore[attr-defined]
        said, _, words = (command.epilog or "").partition("driftline ")
        assert said == "Example: ", path
        words_of_it = shlex.split(words)
        assert tuple(words_of_it[: len(path)]) == path
        command.make_context(path[-1], words_of_it[len(path) :])  # or it is wrong usage


@pytest.mark.parametrize("words", [["--help"], ["check-config"], ["keys", "create", "--help"]])
def test_quick_commands_load_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from monitor.cli import main\n"
        f"sys.argv = ['driftline', *{words!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded: []\n")


def test_the_version_is_shown() -> None:
    ran = driftline("--version")
    assert (ran.code, ran.out.split()[0]) == (0, "driftline")


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["evaluate"],
        ["explain", "seven"],
        ["keys", "create", "sender"],
        ["keys", "create", "sender", "--scope", "everything"],
        ["keys", "create", "sender", "--scope", "read", "--days", "0"],
        ["reference", "freeze", "a", "v1", "--start", "yesterday", "--end", "today"],
        ["reference", "approve", "a", "v1", "0"],
        ["serve", "--role", "boss"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_two(words: list[str]) -> None:
    ran = driftline(*words)
    assert ran.code == 2, ran
    assert "Usage:" in ran.err
    assert "Traceback" not in ran.err


NEEDS_THE_DATABASE = [["keys", "list"], ["migrate"], ["report", "a", "--out", "x.html"]]


@pytest.mark.parametrize("words", [["check-config"], ["serve"], ["status"]], ids=" ".join)
def test_a_wrong_config_is_told_alike_by_all(words: list[str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[servr]\n[server]\nport = "80"\n')
    ran = driftline(*words, "-c", str(config), cwd=tmp_path)
    failed(ran, "2 problems", "servr: unknown section; did you mean 'server'?", "expected `int`")
    assert list(tmp_path.iterdir()) == [config], "before a data folder, or a server in it, is made"


@pytest.mark.parametrize("words", NEEDS_THE_DATABASE, ids=" ".join)
def test_what_needs_the_database_alone_checks_all_names_and_the_values_of_its_sections(
    words: list[str], tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[servr]\n[server]\nport = "80"\n[database]\npool_size = "5"\n')
    ran = driftline(*words, "-c", str(config), cwd=tmp_path)
    failed(ran, "2 problems", "servr: unknown section; did you mean 'server'?", "pool_size")


def test_a_config_that_is_not_there_is_named() -> None:
    failed(driftline("check-config", "-c", "nowhere.toml"), "nowhere.toml: there is no such file")


def test_a_config_from_the_environment_is_checked_too() -> None:
    ran = driftline("check-config", environ={"DRIFTLINE_SERVER__PRT": "1"})
    failed(ran, "server.prt: unknown key; did you mean 'port'?")


def test_a_corpus_that_cannot_be_used_is_told_by_key_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    config = tmp_path / "config.toml"
    config.write_text('[adapters.support]\ncorpus = "bad.jsonl"\n', encoding="utf-8")
    ran = driftline("check-config", "-c", "config.toml", cwd=tmp_path)
    failed(ran, "adapters.support.corpus: corpus bad.jsonl, line 1: not JSON")


def test_a_good_config_is_fine() -> None:
    ran = driftline("check-config")
    assert (ran.code, ran.out) == (0, "config.toml: fine; channels: journal\n")


def test_the_check_of_a_config_says_how_many_versions_an_engine_has_time_for() -> None:
    ran = driftline(
        "check-config", environ={"DRIFTLINE_SERVING__ENGINES": '["http://127.0.0.1:1"]'}
    )
    assert ran.code == 0
    said = "10% of an engine's time is enough for 270 versions every 6 h"
    assert said in " ".join(ran.out.split())


KEYED = {"DRIFTLINE_KEY": "dl_0"}


def test_an_unreachable_service_is_said_to_be_so() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    ran = driftline("status", environ=KEYED | {"DRIFTLINE_URL": url})
    failed(ran, f"cannot reach {url}", "is `driftline serve` running there?")


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://127.0.0.1/"])
def test_a_wrong_address_is_named(url: str) -> None:
    failed(driftline("status", environ=KEYED | {"DRIFTLINE_URL": url}), url.rstrip("/"))


def test_without_a_key_the_ways_to_give_one_are_named(tmp_path: Path) -> None:
    ran = driftline("status", cwd=tmp_path)
    failed(ran, "no key: set DRIFTLINE_KEY", ".driftline/admin.key")


def test_a_key_that_no_header_can_hold_is_refused() -> None:
    failed(driftline("status", environ={"DRIFTLINE_KEY": "schlüssel"}), "the key is none")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"hello", "answers, but not as Driftline does"),
        (502, b"<html>Bad Gateway</html>", "HTTP 502; does Driftline answer at this address?"),
        (404, b'["a list"]', "HTTP 404; does Driftline answer at this address?"),
        (302, b"", "HTTP 302"),
    ],
)
def test_another_server_at_the_address_is_no_traceback(status: int, body: bytes, said: str) -> None:
    with Receiver([answer(status, body=body)]) as server:
        url = f"http://127.0.0.1:{server.port}"
        failed(driftline("status", environ=KEYED | {"DRIFTLINE_URL": url}), said)


def test_a_problem_is_one_message_with_every_field() -> None:
    body = (
        b'{"type":"x","title":"Unprocessable","status":422,"detail":"#/a: wrong (and 1 more)",'
        b'"errors":[{"detail":"wrong","pointer":"#/a"},{"detail":"odd","line":7}]}'
    )
    with Receiver([answer(422, body=body)]) as server:
        url = f"http://127.0.0.1:{server.port}"
        ran = driftline("status", environ=KEYED | {"DRIFTLINE_URL": url})
    assert ran.err == (
        "driftline: Unprocessable: #/a: wrong (and 1 more)\n  #/a: wrong\n  line 7: odd\n"
    )


def test_an_error_message_cannot_command_the_terminal() -> None:
    body = b'{"title":"No","detail":"\\u001b]0;owned\\u0007[bold]x[/bold]\\u202e"}'
    with Receiver([answer(404, body=body)]) as server:
        url = f"http://127.0.0.1:{server.port}"
        ran = driftline("status", environ=KEYED | {"DRIFTLINE_URL": url})
    assert ran.err == "driftline: No: \\x1b]0;owned\\x07[bold]x[/bold]\\u202e\n"


@pytest.mark.parametrize("text", ["\x1b[31m", "\r", "\x07", "\x9b31m", "\u202e", "\u2028", "\x00"])
def test_what_a_terminal_would_obey_is_written_out(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(f"a{text}b") != "ab"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://127.0.0.1:{unused_port()}/none", "the database does not do what is asked"),
        ("mysql://somebody:s3cret@127.0.0.1/x", "database.url: expected an address such as"),
        ("postgresql://s3cret@host:port/x", "database.url: expected an address such as"),
    ],
    ids=["nobody listens", "another dialect", "no port"],
)
@pytest.mark.parametrize("words", [["keys", "list"], ["serve"]], ids=" ".join)
def test_a_database_that_cannot_be_used_is_told(
    words: list[str], url: str, said: str, tmp_path: Path
) -> None:
    ran = process(*words, environ={"DRIFTLINE_DATABASE__URL": url}, cwd=tmp_path)
    assert ran.code == 1, ran
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert "s3cret" not in ran.err


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environ = {"DRIFTLINE_SERVICE__DATA_DIR": str(tmp_path / "file" / "data")}
    failed(process("keys", "list", environ=environ), str(tmp_path / "file"))


def test_serving_on_a_port_in_use_fails_and_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {
            "DRIFTLINE_SERVER__PORT": str(port),
            "DRIFTLINE_DATABASE__EMBEDDED__SHARED_BUFFERS": "16MB",
            "OMP_NUM_THREADS": "1",
        }
        ran = process("serve", environ=environ, cwd=tmp_path)
    assert ran.code == 1, ran
    assert "address already in use" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == [".driftline"]


def test_without_the_repository_the_demo_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "examples.py").write_text("")  # somebody else's module of that name
    script = "import sys; sys.path.insert(0, '.'); from monitor.cli import main; main(['demo'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("driftline: ")
    assert "make demo" in done.stderr
