"""``driftline open``: an address in the browser, without anything secret in it."""

from pathlib import Path

import pytest

from tests.cli.command import driftline, process

PLACES = {
    (): "/",
    ("support",): "/adapters/support",
    ("acme/support",): "/adapters/acme%2Fsupport",
    ("incident",): "/incidents",
    ("incident", "7"): "/incidents/7",
}


@pytest.mark.parametrize(("words", "path"), PLACES.items())
def test_the_address_is_printed(words: tuple[str, ...], path: str, tmp_path: Path) -> None:
    told = {"DRIFTLINE_URL": "https://drift.example/", "DRIFTLINE_KEY": "dl_secret"}
    ran = driftline("open", *words, "--print", environ=told, cwd=tmp_path)
    assert (ran.code, ran.out) == (0, f"https://drift.example{path}\n")


def test_no_password_goes_into_the_browsers_history(tmp_path: Path) -> None:
    told = {"DRIFTLINE_URL": "https://ann:secret@drift.example:8440/at?key=dl_0"}
    ran = driftline("open", "--print", environ=told, cwd=tmp_path)
    assert ran.out == "https://drift.example:8440/at/\n"


def test_only_web_pages_are_opened(tmp_path: Path) -> None:
    ran = driftline("open", environ={"DRIFTLINE_URL": "file:///etc"}, cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")


def test_a_number_belongs_to_an_incident(tmp_path: Path) -> None:
    assert driftline("open", "support", "7", "--print", cwd=tmp_path).code == 2


def test_the_browser_is_given_the_public_address_and_without_one_the_terminal(
    tmp_path: Path,
) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o700)
    told = {"DRIFTLINE_SERVER__PUBLIC_URL": "https://drift.example"}
    without = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": ""}
    ran = process("open", "support", environ=told | without, cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "https://drift.example/adapters/support\n")
    ran = process("open", "support", environ=told | {"BROWSER": str(browser)}, cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "")
    assert opened.read_text() == "https://drift.example/adapters/support\n"
