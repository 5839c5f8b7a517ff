"""What the config reader says about right and wrong tables."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.reading import (
    ConfigError,
    build,
    duration,
    overlay,
    read_toml,
    resolve_secrets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    wait: timedelta = timedelta(minutes=5)
    count: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    folder: Path = Path()
    inner: Inner = field(default_factory=Inner)
    waits: tuple[timedelta, ...] = ()
    by_name: dict[str, Inner] = field(default_factory=dict)
    limit: timedelta | None = None


def test_fields_are_keys_and_defaults_are_defaults() -> None:
    got = build(Outer, {"inner": {"wait": "1h30m"}, "waits": ["1s", "14d"]}, where="outer")
    assert got.inner == Inner(wait=timedelta(minutes=90))
    assert got.waits == (timedelta(seconds=1), timedelta(days=14))
    assert got.limit is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"foldr": "x"}, "outer.foldr: unknown key; did you mean 'folder'?"),
        ({"zzz": 1}, "outer.zzz: unknown key; known: folder, inner, waits, by_name, limit"),
        ({"inner": {"wait": "15x"}}, "outer.inner.wait: '15x' is no duration"),
        ({"inner": {"wait": 15}}, 'outer.inner.wait: expected a duration such as "15m", got 15'),
        ({"inner": {"count": "3"}}, "outer.inner.count: expected `int`, got `str`"),
        ({"inner": 3}, "outer.inner: expected a table, got int"),
        ({"waits": ["1s", "?"]}, "outer.waits[1]: '?' is no duration"),
        ({"by_name": {"a": {"coun": 1}}}, "outer.by_name.a.coun: unknown key; did you mean"),
        ({"limit": "soon"}, "outer.limit: 'soon' is no duration"),
        ({"folder": 3}, "outer.folder: expected Path, got int"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(table: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Outer, table, where="outer")
    assert caught.value.problems[0].startswith(said)


def test_every_problem_of_a_section_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"a": 1, "inner": {"wait": "x", "b": 2}}, where="outer")
    assert len(caught.value.problems) == 3


def test_the_environment_wins_over_the_file() -> None:
    table = {"server": {"port": 1, "host": "a"}}
    environ = {
        "DRIFTLINE_SERVER__PORT": "8440",
        "DRIFTLINE_DATABASE__URL": "postgresql+psycopg://db/driftline",
        "DRIFTLINE_KILL_SWITCH": "1",
        "OTHER__KEY": "x",
    }
    assert overlay(table, environ) == {
        "server": {"port": 8440, "host": "a"},
        "database": {"url": "postgresql+psycopg://db/driftline"},
    }


def test_secrets_come_from_the_environment_or_a_file_and_are_never_quoted(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    table = {"a_env": "TOKEN", "b_file": str(tmp_path / "token"), "c": 1}
    got = resolve_secrets(table, where="x", environ={"TOKEN": "t0ken"})
    assert got == {"a": "t0ken", "b": "s3cret", "c": 1}
    with pytest.raises(ConfigError, match="no variable TOKEN"):
        resolve_secrets({"a_env": "TOKEN"}, where="x", environ={})
    with pytest.raises(ConfigError, match="No such file"):
        resolve_secrets({"a_file": str(tmp_path / "none")}, where="x", environ={})


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[server\nport = 1\n")
    with pytest.raises(ConfigError, match=r"config\.toml.*line 1"):
        read_toml(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "none.toml")


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_durations_are_what_they_say(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert duration(f"{number}{unit}").total_seconds() == pytest.approx(number * seconds)
