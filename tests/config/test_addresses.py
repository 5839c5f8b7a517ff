"""Addresses that are none, and files that are to be read before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from monitor.capture.subjects import KeyUnfit, load_key
from monitor.config.loading import parse
from monitor.config.reading import ConfigError, overlay, read_toml


def problems(**table: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(table, source="test", environ={})
    return caught.value.problems


@pytest.mark.parametrize(
    "url",
    [
        "file://host/etc/engines",
        "ftp://10.0.0.1",
        "http://",
        "10.0.0.1:8000",
        "http://user:pass@10.0.0.1",
        "http://h/?key=secret",
        "http://h/#x",
        "http://h:99999",
        "http://h /x",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("serving", "engines"),
        ("gateway", "upstreams"),
        ("gateway", "service"),
        ("server", "public_url"),
    ],
)
def test_an_address_is_one_and_carries_no_secret(section: str, key: str, url: str) -> None:
    several = key in {"engines", "upstreams"}
    [told] = problems(**{section: {key: [url] if several else url}})
    assert told.startswith(f"{section}.{key}: ")
    assert "pass@" not in told


@pytest.mark.parametrize(("section", "key"), [("serving", "engines"), ("gateway", "upstreams")])
def test_engines_may_be_listed_in_a_file_or_under_a_name(section: str, key: str) -> None:
    sound = ["http://10.0.3.7:8000", "file:///etc/driftline/engines", "dns+http://engines.llm:8000"]
    [told] = problems(**{section: {key: [*sound, "dns+https://engines.llm:8000"]}})
    assert told == (
        f"{section}.{key}: a name's addresses are asked by http: certificates name hosts, not"
        " addresses"
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"server": {"trusted_proxies": ["10.0.0.1/8"]}}, "server.trusted_proxies: '10.0.0.1/8'"),
        ({"gateway": {"trusted_proxies": ["*"]}}, "gateway.trusted_proxies: '*' is no network"),
        ({"server": {"worker_port": 70000}}, "server.worker_port: "),
        ({"database": {"direct_url": "postgresql://h/d"}}, "database.direct_url: there is no"),
        ({"database": {"direct_url": "mysql://h/d"}}, "database.direct_url: expected an address"),
        ({"database": {"password_command": ["x"]}}, "database.password_command: there is no"),
        ({"database": {"migrates": False}}, "database.migrates: nobody else"),
        ({"server": {"deadline": "0s"}}, "server.deadline: must be longer than 0"),
        ({"server": {"connections": {"head": "0s"}}}, "server.connections.head: must be longer"),
        ({"gateway": {"connections": {"most": 0}}}, "gateway.connections.most: must be at least"),
        ({"gateway": {"passes": ["/"]}}, "gateway.passes: '/' is no path"),
        ({"gateway": {"passes": ["v1/rerank"]}}, "gateway.passes: 'v1/rerank' is no path"),
        ({"gateway": {"passes": ["/v1/*"]}}, "gateway.passes: '/v1/*' is no path"),
        ({"defaults": {"runbook": "javascript:x"}}, "defaults.runbook: expected an address"),
        ({"adapters": {"a": {"runbook": "wiki"}}}, "adapters.a.runbook: expected an address"),
    ],
)
def test_what_cannot_be_is_told_by_its_path(table: dict[str, Any], said: str) -> None:
    assert any(one.startswith(said) for one in problems(**table))


def test_toml_that_is_nested_too_deeply_is_told_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for text in ("a = " + "[" * 5000, "a = " + "{a=" * 5000):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"config\.toml: is nested too deeply"):
            read_toml(path)
    assert overlay({}, {"DRIFTLINE_SERVER__HOST": "[" * 5000})["server"]["host"] == "[" * 5000


@pytest.mark.parametrize("name", ["subject.key", "session.key"])
def test_a_key_file_of_another_length_is_named_as_what_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(KeyUnfit, match=rf"{name} has 0 bytes, and a key has 32"):
        load_key(path)
