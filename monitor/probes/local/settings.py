"""The settings of models on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from monitor.probes.embedding import Dtype


class Device(StrEnum):
    """Where a model computes; ``auto`` takes CUDA if available."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """One base model and how it computes.

    base
        Folder or hub name (``name@revision`` pins it) of the base model.
    dtype
        ``auto`` takes bfloat16 if the device supports it. A dtype other than at registration is
        reported as a change, naming both.
    batch_tokens
        Padded tokens per batch.
    loaded_adapters
        Adapters kept in memory beside the base, at least 2; the least recently used goes first.
    threads
        CPU threads of the worker.
    timeout
        For one text and one model.
    start_timeout
        For loading the base.
    """

    base: str
    device: Device = Device.AUTO
    dtype: Dtype = Dtype.AUTO
    batch_tokens: int = 2048
    loaded_adapters: int = 16
    threads: int = 1
    timeout: timedelta = timedelta(seconds=60)
    start_timeout: timedelta = timedelta(minutes=10)
