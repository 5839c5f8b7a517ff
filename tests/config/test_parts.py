"""What the gateway and the commands that only ask read of a config, and what they leave alone."""

from dataclasses import fields
from pathlib import Path

import pytest

from monitor.config.database import load_database_part
from monitor.config.loading import load
from monitor.config.parts import load_gateway_part, load_service_part
from monitor.config.reading import SECTIONS, ConfigError
from monitor.config.sections import Config


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_every_section_is_known_to_those_who_read_some() -> None:
    assert ["source", *SECTIONS] == [field.name for field in fields(Config)]


def test_a_mistake_in_a_section_of_the_service_alone_stops_neither(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[policy]\npage_wayt = "1s"\n[server]\nport = 9\n[gateway]\nport = 10\n[serving]\n',
    )
    assert load_service_part(path).server.port == 9
    assert load_gateway_part(path).gateway.port == 10
    with pytest.raises(ConfigError, match=r"policy\.page_wayt: unknown key"):
        load(path)


def test_who_asks_the_service_needs_no_secret_of_the_engines(tmp_path: Path) -> None:
    path = written(tmp_path, '[serving]\napi_key_env = "DRIFTLINE_TEST_NOT_SET"\n')
    assert load_service_part(path).server.host == "127.0.0.1"
    with pytest.raises(ConfigError, match="no variable DRIFTLINE_TEST_NOT_SET"):
        load_gateway_part(path)


def test_the_service_needs_no_secret_of_the_gateway(tmp_path: Path) -> None:
    """Each runs as a user of its own, who alone can read its key."""
    path = written(
        tmp_path,
        f'[gateway]\nkey_file = "{tmp_path / "gateway.key"}"\n'
        'engine_key_env = "DRIFTLINE_NOT_SET"\n'
        'key_fil = "x"\n',
    )
    with pytest.raises(ConfigError) as service:
        load(path)
    assert service.value.problems == ["gateway.key_fil: unknown key; did you mean 'key'?"]
    path.write_text(path.read_text().replace('key_fil = "x"\n', ""))
    assert load(path).gateway.port == 8441
    with pytest.raises(ConfigError, match=r"gateway\.key_file: .*No such file"):
        load_gateway_part(path)


def test_a_command_in_the_database_needs_no_secret_of_channels_and_engines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[serving]\napi_key_env = "DRIFTLINE_NOT_SET"\n'
        '[[channels]]\nname = "x"\nkind = "webhook"\nurl_env = "DRIFTLINE_NOT_SET"\n'
        '[database]\nurl = "postgresql://driftline@db/driftline"\n',
    )
    assert load_database_part(path).database.url == "postgresql://driftline@db/driftline"
    with pytest.raises(ConfigError, match="no variable DRIFTLINE_NOT_SET"):
        load(path)
    wrong = written(tmp_path, "[database]\nmigrates = false\n")
    with pytest.raises(ConfigError, match=r"database\.migrates: nobody else migrates"):
        load_database_part(wrong)


def test_what_cannot_be_is_told_by_both(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[servr]\n[server]\nport = 0\n[serving]\nengines = ["here"]\n[gateway]\npasses = ["/"]\n',
    )
    for read in (load, load_service_part, load_gateway_part):
        with pytest.raises(ConfigError, match="servr: unknown section"):
            read(path)
    known = written(tmp_path, path.read_text().replace("[servr]\n", ""))
    with pytest.raises(ConfigError) as asked:
        load_service_part(known)
    with pytest.raises(ConfigError) as gateway:
        load_gateway_part(known)
    assert asked.value.problems == ["server.port: 0 is no port"]
    starts = [one.partition(":")[0] for one in gateway.value.problems]
    assert starts == ["server.port", "serving.engines", "gateway.passes"]


def test_variables_and_defaults_hold_for_parts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTLINE_SERVER__PORT", "99")
    assert load_service_part().server.port == 99
    assert load_gateway_part().gateway.port == 8441
