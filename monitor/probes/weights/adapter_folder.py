"""Open a PEFT folder: its config, and its tensors paired by module."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from monitor.probes.weights.errors import damaged, missing, unsupported
from monitor.probes.weights.files import exists, opened, read_small
from monitor.probes.weights.identity import identity_of
from monitor.probes.weights.patterns import first_match
from monitor.probes.weights.safetensors import Tensor, tensors_of, total_bytes

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
PICKLED: Final = "adapter_model.bin"
LARGEST_CONFIG: Final = 1 << 20
LONGEST_TEXT: Final = 2048
PREFIX: Final = "base_model.model."
"""PEFT's prefixes to the base model's names."""

_PART: Final = re.compile(
    r"(?P<module>.+?)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B"
    r"|lora_magnitude_vector)(?:\.(?P<rest>.+))?"
)


_Rank = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``adapter_config.json`` that give tensors their meaning; others are ignored."""

    peft_type: str
    r: _Rank
    lora_alpha: float
    use_rslora: bool | None = False
    use_dora: bool | None = False
    rank_pattern: dict[str, _Rank] | None = None
    alpha_pattern: dict[str, float] | None = None
    target_modules: list[str] | str | None = None
    target_parameters: list[str] | None = None
    modules_to_save: list[str] | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    init_lora_weights: bool | str | None = True

    def rank(self, module: str) -> int:
        """Return the rank that the module should have."""
        return (self.rank_pattern or {}).get(first_match(self.rank_pattern, module) or "", self.r)

    def alpha(self, module: str) -> float:
        """Return the factor of the module's update, before the division by the rank."""
        found = first_match(self.alpha_pattern, module)
        return (self.alpha_pattern or {}).get(found or "", self.lora_alpha)

    def scale(self, module: str) -> float:
        """``alpha / r``, or ``alpha / sqrt(r)`` for rsLoRA."""
        rank = self.rank(module)
        return self.alpha(module) / (math.sqrt(rank) if self.use_rslora else rank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The tensors of one module, under the base model's name for it."""

    module: str
    a: Tensor | None = None
    b: Tensor | None = None
    magnitude: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFolder:
    """An open adapter: parts by module, and whole tensors, such as those of modules_to_save.

    ``identity`` covers tensors and config, ``sha256`` the weights file alone.
    """

    config: AdapterConfig
    parts: Mapping[str, Parts]
    others: Sequence[Tensor]
    tensors: Mapping[str, Tensor]
    bytes: int
    sha256: str
    identity: str


@contextmanager
def opened_adapter(folder: Path) -> Iterator[AdapterFolder]:
    """Open a PEFT folder; its numbers can be read until the context ends.

    Raises
    ------
    WeightsRefused
        The folder is out of reach, of another kind, or damaged.
    """
    raw = read_raw_config(folder)
    config = parsed_config(raw)
    if not exists(folder, WEIGHTS) and exists(folder, PICKLED):
        raise unsupported(
            f"there is {PICKLED} but no {WEIGHTS}: a pickle can run code and is never opened;"
            " save the adapter with safe_serialization=True"
        )
    with opened(folder, WEIGHTS) as file:
        tensors = tensors_of(file)
        parts, others = pair(tensors)
        sha256 = file.sha256()
        yield AdapterFolder(
            config=config,
            parts=parts,
            others=others,
            tensors=tensors,
            bytes=total_bytes(tensors),
            sha256=sha256,
            identity=identity_of(raw, weights=sha256),
        )


def read_raw_config(folder: Path) -> bytes:
    """Read the bytes of ``adapter_config.json``."""
    if not folder.is_dir():
        raise missing("there is no such folder")
    return read_small(folder, CONFIG, limit=LARGEST_CONFIG)


def parsed_config(raw: bytes) -> AdapterConfig:
    """Decode and check a config."""
    try:
        kind = msgspec.json.decode(raw, type=_Kind).peft_type
        if kind != "LORA":
            raise unsupported(f"peft_type is {kind[:40]!r}; only LORA is inspected")
        config = msgspec.json.decode(raw, type=AdapterConfig)
    except (ValueError, RecursionError) as error:
        raise damaged(f"{CONFIG}: {error}") from None
    _refuse_odd_names(config)
    return config


class _Kind(msgspec.Struct):
    peft_type: str


def _refuse_odd_names(config: AdapterConfig) -> None:
    targets = config.target_modules or []
    texts = [
        config.base_model_name_or_path or "",
        config.revision or "",
        *([targets] if isinstance(targets, str) else targets),
        *(config.modules_to_save or []),
    ]
    if any(len(text) > LONGEST_TEXT or not text.isprintable() for text in texts):
        raise damaged(f"{CONFIG}: a name in it is longer than {LONGEST_TEXT} or not printable")


def pair(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Parts], list[Tensor]]:
    """Group tensors into modules' parts, and those that belong to no update.

    Raises
    ------
    WeightsRefused
        Two tensors claim to be the same part: the file holds more than one adapter.
    """
    found: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, tensor in tensors.items():
        match = _PART.fullmatch(name)
        if match is None or (match["rest"] or "").endswith("bias"):
            others.append(tensor)
            continue
        kind = _FIELDS[match["kind"]]
        parts = found.setdefault(match["module"].removeprefix(PREFIX), {})
        if kind in parts:
            raise damaged(f"{name} and {parts[kind].name} are the same part of one module")
        parts[kind] = tensor
    return {module: Parts(module=module, **parts) for module, parts in found.items()}, others


_FIELDS: Final = {
    "lora_A": "a",
    "lora_B": "b",
    "lora_embedding_A": "a",
    "lora_embedding_B": "b",
    "lora_magnitude_vector": "magnitude",
}
