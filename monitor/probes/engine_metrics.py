"""Read an engine's ``/metrics``: is it busy, and which adapters are loaded? Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_WAITING: Final = frozenset({"vllm:num_requests_waiting", "sglang:num_queue_reqs"})
_RUNNING: Final = frozenset({"vllm:num_requests_running", "sglang:num_running_reqs"})
_FINISHED: Final = "vllm:request_success_total"
_ADAPTERS: Final = "vllm:lora_requests_info"
_SAMPLE: Final = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def waiting_requests(metrics: bytes) -> float:
    """Sum the waiting requests over an engine's processes; 0 if it does not tell.

    >>> waiting_requests(b'vllm:num_requests_waiting{engine="0"} 3.0')
    3.0
    """
    return sum(value for name, _, value in _samples(metrics) if name in _WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Requests running in an engine, and the number it has finished; 0 if it does not tell."""

    running: float
    finished: float

    def alone_until(self, later: Activity) -> bool:
        """True if at most one request was in the engine from now to ``later``."""
        return not self.running and not later.running and later.finished - self.finished <= 1


def activity(metrics: bytes) -> Activity:
    """Read an engine's activity.

    >>> activity(b"vllm:num_requests_running 2.0").running
    2.0
    """
    samples = list(_samples(metrics))
    return Activity(
        running=sum(value for name, _, value in samples if name in _RUNNING),
        finished=sum(value for name, _, value in samples if name == _FINISHED),
    )


def resident_adapters(metrics: bytes) -> frozenset[str]:
    """Infer the loaded adapters: those that ran last, as many as the engine holds.

    vLLM has one sample for each set of adapters that ran together, whose value is the last time it
    did. The engine evicts the least recently used, so the latest are still loaded. This is an
    inference: no engine lists the adapters it holds.

    >>> sorted(resident_adapters(b'''
    ... vllm:lora_requests_info{max_lora="2",running_lora_adapters="a,b"} 1.0
    ... vllm:lora_requests_info{max_lora="2",running_lora_adapters="c"} 2.0
    ... '''))
    ['a', 'c']
    """
    ran: dict[str, float] = {}
    slots = 0
    for name, labels, at in _samples(metrics):
        if name != _ADAPTERS:
            continue
        slots = max(slots, _whole(labels.get("max_lora", "")))
        for adapter in filter(None, labels.get("running_lora_adapters", "").split(",")):
            ran[adapter] = max(at, ran.get(adapter, at))
    return frozenset(sorted(ran, key=lambda one: (-ran[one], one))[:slots])


def adapter_places(metrics: bytes) -> int:
    """Return how many adapters the engine holds at a time; 0 if it does not tell.

    >>> adapter_places(b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="a"} 1.0')
    4
    """
    told = (labels for name, labels, _ in _samples(metrics) if name == _ADAPTERS)
    return max((_whole(labels.get("max_lora", "")) for labels in told), default=0)


def _samples(metrics: bytes) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for line in metrics.decode("utf-8", "replace").splitlines():
        found = _SAMPLE.fullmatch(line.strip())
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield found[1], dict(_LABEL.findall(found[2] or "")), value


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
