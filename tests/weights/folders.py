"""Adapters' folders made by hand: sound ones, and ones that nobody should trust."""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int8": "I8",
    "int32": "I32",
    "uint8": "U8",
}
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj", "v_proj"],
    "base_model_name_or_path": "acme/base",
    "revision": "abc123",
    "use_rslora": False,
}
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Stored:
    """Numbers that are already bytes of a type that numpy does not have."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes


def bf16(values: Array) -> Stored:
    """Cut float32 to bfloat16."""
    upper = (np.asarray(values, dtype="<f4").view("<u4") >> 16).astype("<u2")
    return Stored("BF16", values.shape, upper.tobytes())


def safetensors(tensors: Mapping[str, Array | Stored]) -> bytes:
    """Write a sound file."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors.items():
        stored = tensor if isinstance(tensor, Stored) else _stored(tensor)
        end = len(body) + len(stored.raw)
        entries[name] = {
            "dtype": stored.dtype,
            "shape": list(stored.shape),
            "data_offsets": [len(body), end],
        }
        body += stored.raw
    return framed(json.dumps(entries).encode(), body)


def framed(header: bytes, body: bytes = b"", *, length: int | None = None) -> bytes:
    """Put the length before a header, true or not, and numbers after it."""
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def _stored(tensor: Array) -> Stored:
    return Stored(NAMES[tensor.dtype.name], tensor.shape, np.ascontiguousarray(tensor).tobytes())


def factors(
    rng: np.random.Generator, *, rows: int = 24, columns: int = 16, rank: int = 4
) -> tuple[Array, Array]:
    """Give A and B of one update, in float32."""
    a = rng.normal(size=(rank, columns)).astype(np.float32)
    b = rng.normal(size=(rows, rank)).astype(np.float32)
    return a, b


def layers(
    rng: np.random.Generator, *, count: int = 6, kinds: Sequence[str] = ("q_proj", "v_proj")
) -> dict[str, Array]:
    """Give the tensors of a sound adapter, by peft's names."""
    tensors = {}
    for layer in range(count):
        for kind in kinds:
            a, b = factors(rng)
            module = f"{PREFIX}model.layers.{layer}.self_attn.{kind}"
            tensors[f"{module}.lora_A.weight"] = a
            tensors[f"{module}.lora_B.weight"] = b
    return tensors


def write_adapter(
    folder: Path, tensors: Mapping[str, Array | Stored] | bytes, **config: Any
) -> Path:
    """Write a PEFT folder; ``tensors`` may be the bytes of the whole weights file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    raw = tensors if isinstance(tensors, bytes) else safetensors(tensors)
    (folder / "adapter_model.safetensors").write_bytes(raw)
    return folder


def write_base(folder: Path, tensors: Mapping[str, Array], *, shards: int = 1) -> Path:
    """Write a base model's weights, in one file or in shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors(tensors))
        return folder
    names = list(tensors)
    places = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        held = {name: tensors[name] for name in names if places[name] == file}
        (folder / file).write_bytes(safetensors(held))
    write_index(folder, places)
    return folder


def write_index(folder: Path, places: Mapping[str, str]) -> None:
    """Write an index that may say anything."""
    index = {"metadata": {}, "weight_map": dict(places)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def module_of(name: str) -> str:
    """The base model's name for the module of a tensor."""
    return name.removeprefix(PREFIX).split(".lora_", maxsplit=1)[0]


def base_of(names: Iterable[str], rng: np.random.Generator) -> dict[str, Array]:
    """Give base weights for the modules of an adapter of :func:`layers`."""
    modules = dict.fromkeys(map(module_of, names))
    return {f"{module}.weight": rng.normal(size=(24, 16)).astype(np.float32) for module in modules}
