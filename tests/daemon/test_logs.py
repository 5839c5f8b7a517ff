"""What the service writes to its log."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from monitor.daemon import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


def test_a_logger_that_was_used_follows_a_later_level() -> None:
    logger = structlog.get_logger("test")
    logs.configure("error")
    logger.info("said")
    logs.configure("info")
    with structlog.testing.capture_logs() as told:
        logger.info("said")
    assert [one["event"] for one in told] == ["said"]


def test_a_record_is_one_line_of_json_whatever_text_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs.configure("info")
    shown = io.StringIO()
    # replaced after configuring, as a wrapper or a test does
    monkeypatch.setattr(sys, "stderr", shown)
    structlog.contextvars.bind_contextvars(request="r-1")
    structlog.get_logger("test").warning("said", text="a\nb\r\x1b[31mc\u2028d")
    structlog.contextvars.clear_contextvars()
    logging.getLogger("library").warning("from a library\nsecond line")
    lines = shown.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [
        "said",
        "from a library\nsecond line",
    ]
    assert json.loads(lines[0])["request"] == "r-1"
    assert "\x1b" not in shown.getvalue()


def test_each_record_is_written_at_once_so_that_none_comes_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    logs.configure("info")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "write", written.append)
    structlog.get_logger("test").warning("said")
    logging.getLogger("library").warning("from a library")
    assert [text.count("\n") for text in written] == [1, 1]
    assert all(text.endswith("\n") for text in written)
