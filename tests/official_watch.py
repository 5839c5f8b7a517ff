"""Follow EndpointSlices by Kubernetes' official client, and write what it is told, a line each.

It runs in the environment that has the client, ``.venv-deploy``, as in a pod whose service account
is in a folder. It ends when it is ended.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from kubernetes import client, watch
from kubernetes.config.incluster_config import InClusterConfigLoader


def main() -> None:
    """List and watch; list anew where the place of a watch is forgotten."""
    folder, namespace, selector = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    InClusterConfigLoader(
        token_filename=str(folder / "token"),
        cert_filename=str(folder / "ca.crt"),
        environ=os.environ,
    ).load_and_set()
    asked = {"namespace": namespace, "label_selector": selector}
    while True:
        place = _listed(asked)
        try:
            _follow(asked, place)
        except client.ApiException as error:
            _say("REFUSED", error.status)


def _listed(asked: dict[str, Any]) -> str:
    """Say what there is, read in pages of two; return the place at which that is so."""
    found: list[Any] = []
    more = None
    while True:
        page = client.DiscoveryV1Api().list_namespaced_endpoint_slice(
            **asked, limit=2, _continue=more
        )
        found += page.items
        more = page.metadata._continue  # noqa: SLF001 (a word of Python's own)
        if not more:
            break
    for one in found:
        _say("LISTED", *_ready(one))
    place: str = page.metadata.resource_version
    _say("AT", place)
    return place


def _follow(asked: dict[str, Any], place: str) -> None:
    following = watch.Watch()
    for event in following.stream(
        client.DiscoveryV1Api().list_namespaced_endpoint_slice,
        **asked,
        resource_version=place,
        allow_watch_bookmarks=True,
    ):
        if event["type"] == "BOOKMARK":
            _say("BOOKMARK", following.resource_version)
        else:
            _say(event["type"], *_ready(event["object"]))


def _ready(one: Any) -> tuple[str, list[str]]:
    """Return a slice's name, and its addresses that are not said to be unready."""
    ready = [end for end in one.endpoints if end.conditions.ready is not False]
    return one.metadata.name, [address for end in ready for address in end.addresses]


def _say(*words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
