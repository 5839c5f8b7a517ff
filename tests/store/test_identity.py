"""Identity checks: the last one, and the distance that a version is held to."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from detectors.identity import Identity, IdentityState
from detectors.parity import TopLogprobs, compare
from monitor.store.database import Database
from monitor.store.evaluation import identity, perplexity
from monitor.store.evaluation.identity import CheckedOn, Reading


def found(state: IdentityState, gap: float | None = 0.3) -> Identity:
    return Identity(
        state=state, sibling=None, kl=0.2, nll_difference=-0.3, gap=gap, reason=state.value
    )


def keep(database: Database, of: Any, what: Identity, *, role: str, corpus: str = "g:1") -> None:
    on = CheckedOn(role=role, corpus=corpus, base="base", replica=None, engine="toy 1")
    database.run(lambda tx: identity.insert(tx, of.version.id, what, on=on))


def gap(database: Database, of: Any, corpus: str = "g:1") -> tuple[float, bool] | None:
    return database.run(lambda tx: identity.registered_gap(tx, of.version.id, corpus=corpus))


def retire(database: Database, *names: str) -> None:
    database.run(
        lambda tx: perplexity.retire_registrations(
            tx, adapters=list(names), because="engine", at=datetime.now(tz=UTC)
        )
    )


def test_a_check_reads_back_as_it_was_made(database: Database, support: Any) -> None:
    assert database.run(lambda tx: identity.latest(tx, support.version.id)) is None
    what = found(IdentityState.APPLIED)
    keep(database, support, what, role="registration")
    stored = database.run(lambda tx: identity.latest(tx, support.version.id))
    assert stored is not None
    assert stored.found == what
    assert (stored.on.base, stored.on.corpus, stored.retired_at) == ("base", "g:1", None)


def read_back(database: Database, of: Any, *, texts: str) -> TopLogprobs | None:
    return database.run(lambda tx: identity.registered_reading(tx, of.version.id, texts=texts))


def test_a_reading_is_given_back_for_the_same_texts_until_it_is_retired(
    database: Database, support: Any
) -> None:
    logprobs = np.log(
        np.array([[0.5, 0.2, 0.1, 0.05, 0.04, 0.03], [0.9, 0.04, 0.02, 0.01, 0.005, 0.004]])
    )
    expected = TopLogprobs(
        chosen=logprobs[:, 0],
        tokens=np.arange(12).reshape(2, 6),
        logprobs=logprobs,
        document=np.array([0, 1]),
    )
    on = CheckedOn(role="registration", corpus="g:1", base="base", replica=None, engine="toy 1")
    reading = Reading(texts="t", expected=expected)
    what = found(IdentityState.APPLIED)
    database.run(lambda tx: identity.insert(tx, support.version.id, what, on=on, reading=reading))
    kept = read_back(database, support, texts="t")
    assert kept is not None
    assert kept.tokens.tolist() == [[0, 1, 2, 3, 4], [6, 7, 8, 9, 10]]
    assert kept.document.tolist() == [0, 1]
    assert np.allclose(kept.logprobs, logprobs[:, :5])
    assert compare(kept, expected).kl == pytest.approx(0.0, abs=1e-6)
    assert read_back(database, support, texts="other") is None
    retire(database, "support")
    assert read_back(database, support, texts="t") is None


def test_the_gap_held_to_is_the_newest_applied_registration_of_the_corpus(
    database: Database, support: Any
) -> None:
    assert gap(database, support) is None
    keep(database, support, found(IdentityState.APPLIED, 0.3), role="registration")
    keep(database, support, found(IdentityState.NOT_APPLIED, 0.0), role="registration")
    keep(database, support, found(IdentityState.APPLIED, 0.9), role="scheduled")
    keep(database, support, found(IdentityState.UNKNOWN, None), role="registration")
    assert gap(database, support) == (0.3, False)
    assert gap(database, support, "other:1") is None


def test_a_retired_gap_is_held_to_until_a_new_one_is_registered(
    database: Database, register: Callable[[str], Any]
) -> None:
    support, sales = register("support"), register("sales")
    for one in (support, sales):
        keep(database, one, found(IdentityState.APPLIED, 0.3), role="registration")
    retire(database, "support")
    assert gap(database, sales) == (0.3, False)
    assert gap(database, support) == (0.3, True)
    assert database.run(lambda tx: identity.latest(tx, support.version.id)) is None
    keep(database, support, found(IdentityState.WRONG_WEIGHTS, 1.5), role="registration")
    assert gap(database, support) == (0.3, True)
    retire(database, "support")  # a second declared change accepts the distance
    assert gap(database, support) == (1.5, True)
