"""Which lines of a pid file are believed."""

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.postgres.process import live_postmaster, named_pid, serves

once_per_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@once_per_folder
@given(content=st.binary(max_size=200) | st.text("-0123456789\n ", max_size=40).map(str.encode))
def test_no_content_of_a_pid_file_is_taken_for_a_server_that_is_not_there(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "postmaster.pid").write_bytes(content)
    assert live_postmaster(tmp_path) is None


@once_per_folder
@given(pid=st.integers(min_value=1, max_value=2**22), rest=st.text(max_size=40))
def test_the_process_id_is_the_first_line_whatever_follows(
    tmp_path: Path, pid: int, rest: str
) -> None:
    path = tmp_path / "postmaster.pid"
    path.write_text(f"{pid}\n{rest}", encoding="utf-8")
    assert named_pid(path) == pid


def test_a_process_serves_the_folder_it_works_in_and_no_other(tmp_path: Path) -> None:
    assert serves(os.getpid(), Path.cwd())
    assert not serves(os.getpid(), tmp_path)


def test_a_missing_pid_file_names_nobody(tmp_path: Path) -> None:
    assert named_pid(tmp_path / "postmaster.pid") is None
