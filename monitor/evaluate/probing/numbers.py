"""An adapter for which an engine once had numbers and has none now: NaN in its weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from detectors.identity import Identity, IdentityState
from monitor.evaluate.probing.applied import IdentityCheck, keep_identity
from monitor.evaluate.probing.asked import (
    Model,
    Numberless,
    Occasion,
    Probing,
    RunStopped,
    or_none,
)
from monitor.evaluate.probing.outcome import ProbeOutcome, identity_fact
from monitor.probes.share import Purpose
from monitor.store.evaluation.identity import CheckedOn
from monitor.store.people import words

TEXTS: Final = 3
"""Texts that are read again, by the base model and by the version."""


def without_numbers(asked: Probing, stop: Numberless, occasion: Occasion) -> ProbeOutcome:
    """Say whether the weights are damaged, or the engine has no numbers for any model.

    Weights with NaN or infinity make every log-probability NaN, which JSON cannot carry:
    vLLM answers such requests with 400. The adapter is blamed only if the same engine gives
    the base model's numbers, and a second try fails as the first did.

    Raises
    ------
    RunStopped
        The base model has no numbers either or could not be asked, the second try has some,
        or a person said something meanwhile.
    """
    asked = asked.asking_for(Purpose.CONFIRMATION)
    corpus, base = asked.corpora[0], or_none(lambda: asked.base)
    if base is None or not _numbers(asked, base, stop) or _numbers(asked, asked.own, stop):
        raise stop
    said = asked.database.run(lambda tx: words.read(tx, asked.version)).since(occasion.at)
    if said is not None:
        raise RunStopped(f"{said}, while it was measured")
    reason = (
        "the engine answers without log-probabilities, and with them for its base: "
        "NaN or infinity in its weights does that"
    )
    found = Identity(
        state=IdentityState.WRONG_WEIGHTS,
        sibling=None,
        kl=None,
        nll_difference=None,
        gap=None,
        reason=reason,
    )
    on = CheckedOn(
        role=occasion.role.value,
        corpus=corpus.id,
        base=base.target.model,
        replica=stop.replica,
        engine=None,
    )
    keep_identity(asked, IdentityCheck(found=found, on=on))
    return ProbeOutcome(
        identity=replace(identity_fact(found, at=occasion.at), numberless=True),
        corpora=tuple(one.id for one in asked.corpora),
    )


def _numbers(asked: Probing, model: Model, stop: Numberless) -> bool:
    texts = [document.text for document in asked.corpora[0].documents[:TEXTS]]
    found = or_none(lambda: asked.read(model, texts, replica=stop.replica))
    return found is not None and bool(np.isfinite(found.chosen).any())
