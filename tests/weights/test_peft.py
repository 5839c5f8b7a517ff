"""Our reading of a folder against what peft itself computes with the adapter."""

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn

from monitor.domain import WeightsState
from monitor.probes.weights.inspection import inspect_folder


class Model(nn.Module):
    """One module of each kind that peft adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 12)
        self.conv = nn.Conv2d(3, 8, 3)
        self.q_proj = nn.Linear(12, 20)
        self.layers = nn.ModuleList(nn.ModuleDict({"v_proj": nn.Linear(20, 10)}) for _ in range(3))
        self.head = nn.Linear(10, 4)


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True, "target_modules": ["q_proj", "v_proj"]},
    "patterns": {
        "rank_pattern": {r"layers\.[01]\.v_proj": 3, "q_proj": 2},
        "alpha_pattern": {"layers.2.v_proj": 40, r"^conv": 1},
    },
    "a pattern of targets": {"target_modules": r".*\.(v_proj)|q_proj"},
    "a module saved whole": {"modules_to_save": ["head"]},
    "bias": {"lora_bias": True, "target_modules": ["q_proj"]},
}


@pytest.mark.parametrize("case", CASES)
def test_norms_are_those_of_the_update_that_peft_adds(case: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    config: dict[str, Any] = {
        "r": 4,
        "lora_alpha": 10,
        "target_modules": ["embed", "conv", "q_proj", "v_proj"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(Model(), peft.LoraConfig(**config | CASES[case]))
        for name, parameter in model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                nn.init.normal_(parameter)
        model.save_pretrained(str(tmp_path), save_embedding_layers=False)
    found = inspect_folder(tmp_path)
    assert found.state is WeightsState.HEALTHY, found.reason
    updates = {
        name.removeprefix("base_model.model."): module.get_delta_weight("default")  # type: ignore[attr-defined]  # of each kind of layer
        for name, module in model.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    assert {module.module for module in found.modules} == updates.keys()
    for module in found.modules:
        expected = torch.linalg.norm(updates[module.module].double()).item()
        assert module.frobenius == pytest.approx(expected, rel=1e-5)
        assert (module.magnitude is not None) is (case == "dora")
