import pytest

from tests.tools import needs, skip_unless


def test_a_program_that_is_missing_skips_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert needs(None, "`make it`").args == (True,)
    with pytest.raises(pytest.skip.Exception, match="make it"):
        skip_unless(None, "`make it`")


def test_in_ci_its_tests_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert needs(None, "`make it`").args == (False,)
    with pytest.raises(AssertionError, match="make it"):
        skip_unless(None, "`make it`")


@pytest.mark.parametrize("ci", [True, False])
def test_one_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, *, ci: bool) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", "true")
    skip_unless("/usr/bin/it", "`make it`")
    assert needs("/usr/bin/it", "`make it`").args == (False,)
