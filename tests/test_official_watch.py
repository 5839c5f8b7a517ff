"""Kubernetes' official client follows the double of its API server, so the double speaks as it."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.pages import ROOT
from tests.kubernetes_api import NAMESPACE, SERVICE, KubernetesApi, endpoint_slice
from tests.service import until
from tests.tools import skip_unless

PYTHON: Final = ROOT / ".venv-deploy" / "bin" / "python"
CLIENT: Final = ROOT / "tests" / "official_watch.py"


@contextmanager
def _official(api: KubernetesApi, folder: Path) -> Iterator[Iterator[list[Any]]]:
    """Start the client; it yields what it is told."""
    there = subprocess.run([PYTHON, "-Pc", "import kubernetes"], capture_output=True, check=False)
    skip_unless(not there.returncode, "`make .venv-deploy/.ready` installs Kubernetes' client")
    with subprocess.Popen(
        [PYTHON, "-P", CLIENT, folder, NAMESPACE, f"{SERVICE}=vllm"],
        env=os.environ | api.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield map(json.loads, process.stdout)
        finally:
            process.terminate()


@pytest.mark.parametrize("at_once", [False, True])
def test_the_official_client_follows_the_double(tmp_path: Path, *, at_once: bool) -> None:
    """It lists in pages, goes on from a bookmark, and lists anew after a 410."""
    with KubernetesApi(tmp_path) as api:
        api.gone_at_once = at_once
        (tmp_path / "token").write_text(api.token)  # as a kubelet writes it, without a new line
        for name, hosts in (
            ("a", {"10.0.0.1": True, "10.0.0.2": False}),
            ("b", {"10.0.0.3": None}),
        ):
            api.put(endpoint_slice(name, hosts))
        other = endpoint_slice("c", {"10.0.0.4": True})
        other["metadata"]["labels"] = {SERVICE: "another"}
        api.put(other)
        api.put(endpoint_slice("d", {"10.0.0.5": True}))
        with _official(api, tmp_path) as told:

            def opened(watches: int) -> str:
                until(lambda: len(_places(api)) == watches, f"watch {watches}")
                return _places(api)[-1]

            listed = [next(told) for _ in range(4)]
            assert listed[:3] == [
                ["LISTED", "a", ["10.0.0.1"]],
                ["LISTED", "b", ["10.0.0.3"]],
                ["LISTED", "d", ["10.0.0.5"]],
            ]
            assert [query.get("continue") for query in api.asked[:2]] == [None, "2"]
            assert ["AT", opened(1)] == listed[3]
            api.put(endpoint_slice("e", {"10.0.0.6": True}))
            api.put(endpoint_slice("e", {"10.0.0.6": False}))
            api.delete("b")
            api.bookmark()
            assert [next(told) for _ in range(3)] == [
                ["ADDED", "e", ["10.0.0.6"]],
                ["MODIFIED", "e", []],
                ["DELETED", "b", ["10.0.0.3"]],
            ]
            marked = next(told)
            api.end_watches()
            assert ["BOOKMARK", opened(2)] == marked
            api.put(endpoint_slice("f", {"10.0.0.7": True}))
            assert next(told) == ["ADDED", "f", ["10.0.0.7"]]
            api.forget()
            assert next(told) == ["REFUSED", 410]
            anew = [next(told) for _ in range(5)]
            assert [one[1] for one in anew[:4]] == ["a", "d", "e", "f"]
            assert ["AT", opened(4)] == anew[4]


def _places(api: KubernetesApi) -> list[str]:
    return [query["resourceVersion"] for query in api.asked if "watch" in query]
