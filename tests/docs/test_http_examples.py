"""The examples of docs/http.md, run in their order against a real service."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import DOCS
from tests.docs.shell import blocks
from tests.service import Service

BLOCKS = list(blocks(DOCS / "http.md"))
CALL = re.compile(r"^api .*?(?=^api |\Z)", re.MULTILINE | re.DOTALL)


def calls(code: str) -> list[str]:
    return CALL.findall(code)


def endpoint(call: str) -> tuple[str, str]:
    """Method and path as curl will send them."""
    path = re.search(r"\$URL(/[^\s\"'?]*)", call)
    assert path, call
    method = re.search(r"-X (\w+)", call)
    return (method[1] if method else "POST" if "-d " in call else "GET"), path[1]


def test_the_examples_of_the_http_page_work(service: Service, tmp_path: Path) -> None:
    code = "\n".join(block.code for block in BLOCKS if block.note is None)
    script = code.replace("127.0.0.1:8440", f"127.0.0.1:{service.port}").replace(
        "curl -sS", "curl -sS -w '\\n#%{http_code}'"
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "DRIFTLINE_KEY": service.key},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    statuses = re.findall(r"^#(\d+)$", done.stdout, re.MULTILINE)
    assert len(statuses) == len(calls(code)), done.stdout
    unwell = [
        (endpoint(call), status)
        for call, status in zip(calls(code), statuses, strict=True)
        if status not in {"200", "202", "304"}
    ]
    assert unwell == [], done.stdout


@pytest.mark.parametrize(
    "call", [call for block in BLOCKS for call in calls(block.code)], ids=lambda call: call[:60]
)
def test_every_example_names_an_endpoint_that_exists(call: str, service: Service) -> None:
    method, path = endpoint(call)
    described = service.get("/openapi.json")["paths"]
    matching = [
        template
        for template in described
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    assert any(method.lower() in described[template] for template in matching), (method, path)
