"""The browser that tests of pages drive: the system's Chromium."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright

from tests.tools import skip_unless

NAMES = (
    "chromium-headless-shell",  # the same pages for less: it draws no windows around them
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PATIENT = 600_000
"""Milliseconds: a busy machine opens a browser all the same."""


@contextmanager
def chromium(driver: Playwright) -> Iterator[Browser]:
    """Open it until the body ends; skip the test where none is installed."""
    skip_unless(CHROMIUM, f"`make browser` installs one: there is none of {', '.join(NAMES)}")
    # it may run as root in a container, where Chromium's own sandbox cannot start
    opened = driver.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENT
    )
    yield opened
    opened.close()
