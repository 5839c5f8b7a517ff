"""The process with a base and its adapters: ``python -m monitor.probes.local.worker``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, assert_never

import numpy as np

from monitor.loading import loading, set_apart
from monitor.probes.errors import (
    FolderRefused,
    ModelMissing,
    ProbeFailed,
    TokenizersDiffer,
    models_here,
)
from monitor.probes.local import protocol
from monitor.probes.local.folders import Fingerprints, FolderKind, kind_of
from monitor.probes.models import locate
from monitor.probes.pipes import serve

if TYPE_CHECKING:
    from monitor.probes.local.asked import LocalModels


def main() -> None:
    """Serve requests until the daemon closes the pipe."""
    # PEFT reads a property that transformers 5 has renamed; we cannot change that
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
    serve(protocol.REQUESTS, _Answerer())


class _Answerer:
    """One base and the requests it can answer."""

    def __init__(self) -> None:
        self._models: LocalModels | None = None

    def __call__(self, request: protocol.Request) -> protocol.Reply:
        try:
            return self._answer(request)
        except FolderRefused as error:
            return protocol.FolderProblem(
                cause=protocol.UnaskedCause.FOLDER, folder=str(error.folder), reason=error.reason
            )
        except TokenizersDiffer as error:
            return protocol.FolderProblem(
                cause=protocol.UnaskedCause.TOKENIZERS, folder="", reason=str(error)
            )

    def _answer(self, request: protocol.Request) -> protocol.Reply:
        match request:
            case protocol.OpenBase():
                return self._open(request)
            case protocol.ScoreTexts():
                scores = self._opened.score(request.models, request.texts)
                return protocol.Scored(
                    sums=scores.sums.tobytes(),
                    tokens=scores.tokens.tobytes(),
                    non_finite=scores.non_finite.tobytes(),
                )
            case protocol.ReadTexts():
                found = self._opened.expect(request.model, request.texts, top=request.top)
                return protocol.Expected(
                    top=found.tokens.shape[1],
                    chosen=found.chosen.astype(np.float32).tobytes(),
                    document=found.document.tobytes(),
                    tokens=found.tokens.tobytes(),
                    logprobs=found.logprobs.astype(np.float32).tobytes(),
                )
            case protocol.Compare():
                parities = self._opened.compare(request.a, request.b, request.texts)
                return protocol.ComparedTexts(parities=parities)
            case _:
                assert_never(request)

    def _open(self, request: protocol.OpenBase) -> protocol.BaseOpened:
        # before torch is loaded: a wrong name is reported at once
        with models_here(request.model):
            folder, fingerprints = locate(request.model), Fingerprints()
        try:
            if kind_of(folder) is not FolderKind.MODEL:
                raise ModelMissing(request.model, f"{folder} holds an adapter, not a base")
            weights = fingerprints.of(folder)
            with models_here(request.model), loading():
                from monitor.probes.local.asked import LocalModels  # noqa: PLC0415 - loads torch
            set_apart()

            self._models = models = LocalModels(folder, request)
        except FolderRefused as error:
            raise ModelMissing(request.model, error.reason) from error
        if fingerprints.of(folder) != weights:
            raise ProbeFailed(f"{folder} changed while it was read", permanent=False)
        return protocol.BaseOpened(weights=weights, dtype=models.dtype, engine=models.engine)

    @property
    def _opened(self) -> LocalModels:
        if self._models is None:
            raise RuntimeError("no model was opened")
        return self._models


if __name__ == "__main__":
    main()
