"""Weight health: singular values by a QR core, and a 7B model's adapter by the command line."""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.row import Figure, Row, at_least, at_most
from benchmarks.timing import interleaved
from detectors.weights import singular_values, triangle

SEED = 9
SIDE, RANK = 2_048, 16
LAYERS = 32
SHAPES = {
    "self_attn.q_proj": (4_096, 4_096),
    "self_attn.k_proj": (4_096, 4_096),
    "self_attn.v_proj": (4_096, 4_096),
    "self_attn.o_proj": (4_096, 4_096),
    "mlp.gate_proj": (11_008, 4_096),
    "mlp.up_proj": (11_008, 4_096),
    "mlp.down_proj": (4_096, 11_008),
}
"""Rows and columns of the weights of a Llama of 7B parameters, by module."""
RUNS = 3
_BF16 = 2
Matrix = npt.NDArray[np.float64]


def run() -> Sequence[Row]:
    """Race the core with the full decomposition, then run the command on a large adapter."""
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as folder:
        _write_adapter(Path(folder))
        return [_race(), _command(Path(folder))]


def _race() -> Row:
    rng = np.random.default_rng(SEED)
    a, b = rng.normal(size=(RANK, SIDE)), rng.normal(size=(SIDE, RANK))
    spent = interleaved(
        {
            "ours": lambda: _core(a, b),
            "full": lambda: _full(a, b),
            "single": lambda: _full(a.astype(np.float32), b.astype(np.float32)),
        },
        rounds=3,
    )
    exact = _full(a, b)[:RANK]
    error = float(np.max(np.abs(_core(a, b) - exact) / exact))
    return Row(
        number=17,
        metric=f"singular values of an update, {SIDE:,}² and r = {RANK}",
        ours=_seconds("detectors.weights, QR core", spent["ours"]),
        goals=(
            at_least("300 × full SVD", value=spent["full"] / spent["ours"], floor=300, unit="×"),
            at_most("1e-5 relative difference", value=error, ceiling=1e-5, unit=""),
        ),
        peers=(
            _seconds("numpy.linalg.svd of the whole matrix", spent["full"]),
            _seconds("the same in float32", spent["single"]),
        ),
        note="both sides without singular vectors; ours in float64, the factors given.",
    )


def _core(a: Matrix, b: Matrix) -> Matrix:
    return singular_values(triangle([a.T], width=RANK), triangle([b], width=RANK), scale=2.0)


def _full(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Matrix:
    return np.asarray(np.linalg.svd(2.0 * b @ a, compute_uv=False), dtype=np.float64)


def _command(folder: Path) -> Row:
    spent = [_inspect(folder) for _ in range(RUNS)]
    cpu, megabytes = (median(column) for column in zip(*spent, strict=True))
    size = (folder / "adapter_model.safetensors").stat().st_size / 1e6
    return Row(
        number=17,
        metric=f"driftline inspect, {LAYERS} layers × {len(SHAPES)} modules, r = {RANK}",
        ours=_seconds("the whole process", cpu),
        goals=(
            at_most("20 s CPU", value=cpu, ceiling=20.0, unit="s CPU"),
            at_most("1 GB peak", value=megabytes, ceiling=1_000.0, unit="MB"),
        ),
        note=f"an adapter of a 7B Llama's shapes in bfloat16, {size:.0f} MB; start of Python"
        f" and imports included; median of {RUNS} runs.",
    )


def _inspect(folder: Path) -> tuple[float, float]:
    """Give CPU seconds and peak resident MB of the command, in a process of its own."""
    words = [sys.executable, "-m", "monitor", "inspect", str(folder), "--json"]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    child = os.posix_spawn(sys.executable, words, os.environ, file_actions=quiet)
    _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"driftline inspect ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000


def _write_adapter(folder: Path) -> None:
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": [name.rpartition(".")[2] for name in SHAPES],
        "base_model_name_or_path": "a Llama of 7B parameters",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    entries, end = {}, 0
    for name, shape in _tensors():
        begin, end = end, end + shape[0] * shape[1] * _BF16
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    rng = np.random.default_rng(SEED)
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _, shape in _tensors():
            values = rng.normal(scale=0.02, size=shape).astype("<f4")
            file.write((values.view("<u4") >> 16).astype("<u2").tobytes())


def _tensors() -> Iterator[tuple[str, tuple[int, int]]]:
    for layer in range(LAYERS):
        for module, (rows, columns) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            yield f"{name}.lora_A.weight", (RANK, columns)
            yield f"{name}.lora_B.weight", (rows, RANK)


def _seconds(what: str, seconds: float) -> Figure:
    return Figure(what=what, value=seconds, unit="s CPU")
