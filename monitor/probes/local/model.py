"""Run a causal language model on this machine. Imported only inside a worker: it loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from monitor.probes.errors import FolderRefused
from monitor.probes.search import has_bfloat16

_SELF_CHECK_TOKENS: Final = 8
_SELF_CHECK_ERROR: Final = 0.05
"""Nats: an order above the rounding of bfloat16, an order below any scaling of logits."""
_ENDLESS: Final = 1_000_000
"""Tokenizers without a limit report a number far beyond this."""


class CausalModel:
    """The weights, tokenizer and head of a folder, ready to score.

    Parameters
    ----------
    dtype
        ``auto``: bfloat16 if the device multiplies it in hardware, else float32.
    device
        ``auto``: CUDA if available, else the CPU.

    Raises
    ------
    FolderRefused
        Not loadable without its own code, not finite, or with a head that does more than multiply,
        scale and cap.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str) -> None:
        self.folder = folder
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
            network: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=self.dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
            raise FolderRefused(folder, f"not loadable: {_first_line(error)}") from error
        self.network = network.to(self.device).eval().requires_grad_(requires_grad=False)
        self._config = network.config.get_text_config()
        _require_finite(folder, self.network)
        self._check_head()

    @property
    def longest(self) -> int:
        """The most tokens of a text that is scored: one less than the context.

        A server that scores a prompt must generate one more token.
        """
        positions = getattr(self._config, "max_position_embeddings", None)
        limit = positions or self._tokenizer.model_max_length
        return int(limit) - 1 if limit < _ENDLESS else _ENDLESS

    @property
    def head(self) -> torch.nn.Module:
        """The current output layer, with or without an adapter's layer around it."""
        head: torch.nn.Module = self.network.get_output_embeddings()
        return head

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids as a server reads a prompt: with the tokenizer's own special tokens."""
        if not texts:
            return []
        # the caller checks the length; the tokenizer's warning would repeat for each text
        return [list(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"]]

    def hidden(self, ids: torch.Tensor, *, network: Any = None, **kwargs: Any) -> torch.Tensor:
        """Return the head's inputs ``(b, l, h)`` for token ids ``(b, l)``.

        There is no attention mask: after its last token a row may hold anything, because a causal
        model's tokens see only earlier ones.
        """
        with _caught(self.head) as caught:
            (network or self.network)(input_ids=ids, use_cache=False, **kwargs)
        return caught[0]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the head to rows ``(n, h)``; ``(n, vocabulary)`` in the model's arithmetic."""
        logits: torch.Tensor = self.head(hidden)
        scale = getattr(self._config, "logit_scale", None)
        divisor = getattr(self._config, "logits_scaling", None)
        cap = getattr(self._config, "final_logit_softcapping", None)
        if scale is not None:
            logits = logits * scale
        if divisor is not None:
            logits = logits / divisor
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return logits

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Compare our computation of the logits with the model's own."""
        ids = torch.arange(_SELF_CHECK_TOKENS, device=self.device)[None]
        own = self.network(input_ids=ids, use_cache=False).logits[0].float()
        ours = self.logits(self.hidden(ids)[0]).float()
        error = (own.log_softmax(-1) - ours.log_softmax(-1)).abs().max().item()
        if not error <= _SELF_CHECK_ERROR:
            reason = f"its head does more than a matrix product (logprobs differ by {error:.2g})"
            raise FolderRefused(self.folder, reason)


def choose_device(wanted: str) -> torch.device:
    """Resolve ``auto``: CUDA if available."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Resolve ``auto``: bfloat16 if the device multiplies it in hardware, else float32."""
    if wanted == "auto":
        on_gpu = device.type == "cuda"
        has = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else has_bfloat16()
        return torch.bfloat16 if has else torch.float32
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


@contextmanager
def _caught(head: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Capture a head's inputs, and skip its multiplication."""
    caught: list[torch.Tensor] = []

    def catch(_head: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        caught.append(inputs[0])
        return (inputs[0][:, :0],)

    hook = head.register_forward_pre_hook(catch)
    try:
        yield caught
    finally:
        hook.remove()


def _require_finite(folder: Path, network: torch.nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise FolderRefused(folder, f"tensor {name} holds NaN or infinite values")


def _first_line(error: BaseException) -> str:
    """Return a library's message in one line; some consist only of a missing key."""
    said = str(error).strip().partition("\n")[0][:300]
    return (
        f"nothing is known of {said}" if isinstance(error, KeyError) else said or "no reason given"
    )
