"""What the perplexity evaluation tells of models that move, through the whole evaluator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from alerts.types import Blame, Sureness, VerdictKind
from detectors.perplexity import CHANGED_FLOORS
from monitor.domain import ChangeKind, EvaluationKind
from monitor.evaluate.evaluator import Ending
from monitor.evaluate.message import answers_as
from monitor.probes.errors import ProbeFailed
from monitor.probes.prompt_logprobs import PerplexitySource
from monitor.store.evaluation import perplexity, probing, tasks
from monitor.store.evaluation.probing import ProbeRow
from monitor.store.people import changes
from monitor.store.people.changes import Declaration
from monitor.views.reading.score import score
from tests.probed_fleet import Fleet
from tests.toy_models import DOMAIN, GENERAL, ReplicatedToys, Toys

HOUR = timedelta(hours=1)
OWN = "support@v7"


def toys(*siblings: str, kind: type[Toys] = Toys, **more: Any) -> Toys:
    names = (OWN, *siblings)
    return kind(
        weights={"base": "base", **{name: name for name in names}},
        parents=dict.fromkeys(names, "base"),
        **more,
    )


Make = Callable[[Toys], Fleet]


@pytest.fixture
def fleet(world: Any) -> Make:
    def make(given: Toys) -> Fleet:
        made = Fleet(world, given)
        assert made.probe() is Ending.DONE
        return made

    return make


def test_a_version_is_registered_three_times_over_each_corpus_and_its_base_once(
    fleet: Make,
) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    assert made.asked().count((OWN, "general", 40)) == 3
    rows = made.world.rows("SELECT version_id, corpus, role FROM perplexity_runs")
    base = [row for row in rows if row.version_id is None]
    assert sorted(row.corpus for row in base) == sorted([GENERAL.id, DOMAIN.id])
    assert {row.role for row in rows} == {"registration"}
    assert made.verdict().detectors == ()
    shown = made.score().details["corpora"]
    assert [(c["name"], c["role"]) for c in shown] == [
        ("general", "general"),
        ("support", "domain"),
    ]


def test_the_base_is_asked_once_for_all_its_versions(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.asked()
    made.probe(made.register("sales"))
    assert {model for model, _, _ in made.asked()} == {"sales"}


def test_a_quiet_probe_costs_one_run_of_each_corpus(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.asked()
    made.later()
    assert made.asked() == [(OWN, "general", 40), (OWN, "support", 30)]
    assert made.verdict().detectors == ()
    assert made.score().details["identity"]["state"] == "applied"
    assert made.score().details["trend"]["mean_7d"] == pytest.approx(0.0, abs=1e-9)


def test_an_adapter_harder_on_its_domain_is_degraded_and_blamed(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.toys.shift[OWN, "support"] = float(np.log(1.2))
    made.later()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "perplexity +20.0%" in told.reason
    assert "base model unchanged" in told.reason
    assert made.score().value == pytest.approx(0.2)
    assert made.score().winner == "perplexity:up"


def test_an_adapter_harder_on_general_text_only_forgets_and_is_a_ticket(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.toys.shift[OWN, "general"] = float(np.log(1.09))
    made.later()
    told = made.verdict()
    assert (told.kind, told.severity.value) == (VerdictKind.DRIFTING, "ticket")
    assert "forgetting: general text harder by +9.0%" in told.reason
    assert "its own domain unchanged: the adapter forgets" in told.reason
    assert made.score().value == pytest.approx(0.0, abs=1e-9)
    assert made.score().verdict == "drifting"
    assert made.score().winner == "forgetting:up"


def test_a_small_change_is_a_ticket(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.02
    made.later()
    assert made.verdict().kind is VerdictKind.DRIFTING
    assert "perplexity changed" in made.verdict().reason


@pytest.mark.parametrize(
    ("lines", "blame"), [(1.5, Blame.UNKNOWN), (1.99, Blame.UNKNOWN), (2.01, Blame.ADAPTER)]
)
def test_a_base_below_its_line_clears_nobody_of_a_move_just_above_it(
    fleet: Make, lines: float, blame: Blame
) -> None:
    made = fleet(toys("sales"))
    made.toys.shift[OWN, ""] = lines * CHANGED_FLOORS * made.score().details["noise_floor"]
    made.later()
    told = made.verdict()
    assert told.kind is VerdictKind.DRIFTING
    assert told.blame is blame
    assert ("so small a move can hide" in told.reason) is (blame is Blame.UNKNOWN)


def test_what_a_second_run_does_not_confirm_is_not_told(fleet: Make) -> None:
    made = fleet(toys())
    once = made.toys._run  # noqa: SLF001 - something happens in the middle of a run

    def shaken(target: Any, corpus: Any, *, replica: Any) -> Any:
        made.toys.shift[OWN, ""] = 0.5
        run = once(target, corpus, replica=replica)
        made.toys.shift[OWN, ""] = 0.0
        made.toys._run = once  # noqa: SLF001 - something happens in the middle of a run
        return run

    made.toys._run = shaken  # noqa: SLF001 - something happens in the middle of a run
    made.later()
    assert made.verdict().detectors == ()


def unevenly(made: Fleet, ratio: float, *, spread: float = 0.08) -> None:
    """Documents that disagree: a half width of 2.5 % (with .08) or 17 % (with .5)."""
    plain = Toys._run  # noqa: SLF001 - something happens in the middle of a run
    moves = np.log(ratio) + np.tile([spread, -spread], 20)

    def uneven(target: Any, corpus: Any, *, replica: Any) -> Any:
        run = plain(made.toys, target, corpus, replica=replica)
        if target.model != OWN:
            return run
        documents = tuple(
            replace(d, sum_nll=d.sum_nll + 100 * move)
            for d, move in zip(run.documents, moves, strict=False)
        )
        return replace(run, documents=documents)

    made.toys._run = uneven  # noqa: SLF001 - something happens in the middle of a run


def test_six_percent_is_degraded_at_the_second_scheduled_run_not_at_its_confirmation(
    fleet: Make,
) -> None:
    made = fleet(toys())
    unevenly(made, 1.06)
    made.later()
    assert made.verdict().kind is VerdictKind.DRIFTING
    made.probe()  # a repetition minutes later is no second look either
    assert made.verdict().kind is VerdictKind.DRIFTING
    made.later()
    assert made.verdict().kind is VerdictKind.CRITICAL
    assert "for the second time" in made.verdict().reason


def test_a_suspicion_after_a_scheduled_run_is_a_second_look(fleet: Make) -> None:
    made = fleet(toys())
    unevenly(made, 1.06)
    made.later()
    made.later(requested=True)
    assert made.verdict().kind is VerdictKind.CRITICAL


def test_an_engine_that_moved_everything_is_blamed_on_the_base(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.engine_shift, made.toys.engine = 0.02, "toy 2"
    made.later()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.DRIFTING, Blame.BASE)
    assert "the base model moved too (+2.0%)" in told.reason
    assert "engine toy 1 float32 at registration, toy 2 float32 now" in told.reason


def test_a_base_that_moved_in_this_cycle_is_not_asked_again(fleet: Make) -> None:
    made = fleet(toys("sales"))
    sales = made.register("sales")
    made.probe(sales)
    made.toys.engine_shift = 0.02
    made.later()
    made.asked()
    made.probe(sales)
    assert made.verdict(sales).blame is Blame.BASE
    assert {model for model, _, _ in made.asked()} == {"sales"}


def test_a_base_that_moved_away_does_not_make_weights_wrong(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift["base", ""] = 2.0
    made.toys.shift[OWN, ""] = 0.1
    made.later()
    told = made.verdict()
    assert told.blame is Blame.BASE
    assert "wrong weights" not in told.reason


def test_siblings_that_moved_too_are_a_common_cause_where_the_base_is_not_served(
    fleet: Make,
) -> None:
    given = toys("a", "b", "c")
    given.base_of = lambda _target: None  # type: ignore[method-assign, assignment]
    made = fleet(given)
    for name in ("a", "b", "c"):
        made.probe(made.register(name))
    made.toys.engine_shift = 0.02
    made.asked()
    made.later()
    told = made.verdict()
    assert told.blame is Blame.BASE
    assert "2 of 2 siblings moved too" in told.reason
    assert "too (" not in told.reason, "their names are not for everybody who reads it"
    assert [a for a in made.asked() if a[0] != OWN] == [("a", "general", 20), ("b", "general", 20)]


def test_siblings_that_stand_still_clear_the_base(fleet: Make) -> None:
    made = fleet(toys("a", "b"))
    for name in ("a", "b"):
        made.probe(made.register(name))
    made.toys.shift[OWN, ""] = 0.3
    made.later()
    assert made.verdict().blame is Blame.ADAPTER
    assert "0 of 2 siblings moved" in made.verdict().reason


def test_an_adapter_mixed_into_its_bases_answers_does_not_put_blame_on_the_base(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.weights["base"] = "sales"
    made.later()
    told = made.verdict()
    assert "the engine mixes adapters into its base model's answers" in told.reason
    assert told.blame is not Blame.BASE


@pytest.mark.parametrize("documents", [40, 15])
def test_the_base_under_the_name_is_told_though_the_base_answers_with_an_adapter(
    fleet: Make, documents: int
) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.weights[OWN] = "base"
    made.toys.mixed["base"] = ("sales", documents)
    made.toys.expects["base"] = "sales"
    made.later()
    told = made.verdict()
    assert "not applied: it answers as the base does: 40 documents" in told.reason
    assert (told.blame, told.sure) == (Blame.SERVING, Sureness.CONFIRMED)


def test_a_busy_base_that_says_what_it_said_before_is_believed_to_answer_under_the_name(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.weights[OWN] = "base"
    made.toys.beside = {"base"}
    made.later()
    told = made.verdict()
    assert "not applied: it answers as the base does: 40 documents" in told.reason
    assert (told.blame, told.sure) == (Blame.SERVING, Sureness.CONFIRMED)


def test_a_busy_base_that_says_something_else_is_not_believed_to_answer(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.weights |= {OWN: "anything", "base": "anything"}
    made.toys.beside = {"base"}
    made.later()
    assert made.score().details["identity"]["state"] != "not_applied"


def test_a_busy_base_that_was_lent_the_broken_weights_does_not_hide_them(fleet: Make) -> None:
    made = fleet(toys("a", "b"))
    for name in ("a", "b"):
        made.probe(made.register(name))
    made.toys.weights |= {OWN: "broken", "base": "broken"}
    made.toys.beside = {"base"}
    made.later()
    told = made.verdict()
    assert "wrong weights: KL" in told.reason
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)


def test_documents_that_no_adapter_computed_clear_the_base(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.mixed["base"] = ("sales", 15)
    made.later()
    told = made.verdict()
    assert "unchanged in 25 documents; in 15 the engine answered with an adapter" in told.reason
    assert told.blame is Blame.ADAPTER


def test_documents_that_the_broken_adapter_itself_computed_do_not_blame_the_base(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.weights[OWN] = "broken"
    made.toys.mixed["base"] = ("broken", 30)
    made.later()
    told = made.verdict()
    assert "unchanged in 10 documents; in 30 the engine answered with an adapter" in told.reason
    assert told.blame is Blame.ADAPTER


def test_a_base_that_moved_where_no_adapter_computed_it_is_not_cleared(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.mixed["base"] = ("sales", 25)
    made.toys.shift["base", ""] = 0.02
    made.later()
    assert "the engine mixes adapters into its base model's answers" in made.verdict().reason
    assert made.verdict().blame is Blame.UNKNOWN


LENT = "in 30 the engine answered with an adapter"
MIXED = "the engine mixes adapters into its base model's answers"


@pytest.mark.parametrize(
    ("documents", "words", "blame"), [(30, LENT, Blame.ADAPTER), (40, MIXED, Blame.UNKNOWN)]
)
def test_a_base_that_was_lent_an_adapter_of_another_domain_is_not_blamed(
    fleet: Make, documents: int, words: str, blame: Blame
) -> None:
    made = fleet(toys("sales", texts=(GENERAL, DOMAIN)))
    made.toys.texts = (GENERAL,)
    made.probe(made.register("sales"))
    made.toys.texts = (GENERAL, DOMAIN)
    made.toys.shift[OWN, "support"] = 0.02
    made.toys.mixed["base"] = ("sales", documents)
    made.later()
    assert words in made.verdict().reason
    assert made.verdict().blame is blame


def test_a_base_that_moved_beside_one_domain_is_blamed(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.toys.shift[OWN, "support"] = 0.02
    made.toys.shift["base", ""] = 0.07
    made.later()
    told = made.verdict()
    assert "the base model moved too (+7.3%)" in told.reason
    assert told.blame is Blame.BASE


def test_a_base_that_moved_a_little_in_one_domain_alone_is_blamed(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.toys.shift |= {(OWN, "support"): 0.006, ("base", "support"): 0.006}
    made.later()
    assert "the base model moved too (+0.6%)" in made.verdict().reason
    assert made.verdict().blame is Blame.BASE


def test_a_base_that_says_something_else_each_time_has_not_moved(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.unsteady["base"] = 25
    made.later()
    told = made.verdict()
    assert "unchanged in 15 documents; in others it differs from one reading" in told.reason
    assert told.blame is Blame.ADAPTER


def test_a_base_that_is_never_the_same_leaves_the_blame_open(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.3
    made.toys.unsteady["base"] = 38
    made.later()
    told = made.verdict()
    assert "the base model's answer differs from one reading to the next" in told.reason
    assert told.blame is Blame.UNKNOWN


def test_other_files_are_the_likely_cause_where_the_base_cannot_be_compared(fleet: Make) -> None:
    made = fleet(toys(hashes=True))
    made.toys.weights[OWN] = "saved anew"
    made.toys.expects[OWN] = OWN
    made.toys.unsteady["base"] = 38
    made.later()
    told = made.verdict()
    assert "its files are not those of the registration" in told.reason
    assert "the base model's answer differs from one reading to the next" in told.reason
    assert (told.blame, told.sure) == (Blame.ADAPTER, Sureness.LIKELY)


def test_a_base_that_moved_and_is_unsteady_besides_is_blamed(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.engine_shift = 0.2
    made.toys.unsteady["base"] = 20
    made.later()
    assert made.verdict().blame is Blame.BASE


def test_a_base_that_answered_with_the_adapter_at_registration_is_registered_again(
    fleet: Make,
) -> None:
    given = toys()
    given.weights["base"] = OWN
    made = fleet(given)
    assert "not applied" in made.verdict().reason
    made.toys.weights["base"] = "base"
    made.later(by=HOUR)
    assert made.score().details["identity"]["state"] == "applied"
    assert made.verdict().detectors == ()
    made.toys.shift[OWN, ""] = 0.3
    made.later()
    assert made.verdict().blame is Blame.ADAPTER
    assert "base model unchanged" in made.verdict().reason


def test_a_base_that_was_registered_with_an_adapters_numbers_has_not_moved(fleet: Make) -> None:
    made = fleet(toys())
    made.world.rows(
        "UPDATE perplexity_documents d SET sum_nll = own.sum_nll"
        " FROM perplexity_runs r, perplexity_documents own, perplexity_runs o"
        " WHERE d.run_id = r.id AND r.version_id IS NULL AND own.run_id = o.id"
        " AND o.version_id IS NOT NULL AND own.document = d.document RETURNING 1"
    )
    made.toys.shift[OWN, ""] = 0.3
    made.later()
    assert made.verdict().blame is not Blame.BASE
    assert "and did so when it was registered" in made.verdict().reason
    before, anew = made.world.rows(
        "SELECT retired_because FROM perplexity_runs"
        " WHERE version_id IS NULL AND role = 'registration' ORDER BY id"
    )
    assert "mixes adapters" in before.retired_because
    assert anew.retired_because is None


def test_one_replica_alone_is_blamed_on_serving(fleet: Make) -> None:
    made = fleet(toys(kind=ReplicatedToys))
    made.toys.broken["http://two"] = 0.3
    made.toys.turn = 1
    made.later()
    told = made.verdict()
    assert told.blame is Blame.SERVING
    assert "unchanged on replica http://one: http://two alone moved" in told.reason


def test_an_unapplied_adapter_is_told_at_registration_without_a_reference(world: Any) -> None:
    world.rows("UPDATE \"references\" SET state = 'failed', error = 'test' RETURNING 1")
    given = toys()
    given.weights[OWN] = "base"
    made = Fleet(world, given)
    made.probe()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.DRIFTING, Blame.SERVING)
    assert "not applied" in told.reason
    assert "KL" in told.reason
    assert made.score().details["identity"]["state"] == "not_applied"
    assert made.score().evidence_notice >= 0
    assert made.score().winner == "not_applied"
    given.weights[OWN] = OWN
    made.later()
    assert made.verdict().kind is VerdictKind.STABLE
    assert "applied" in made.verdict().reason
    made.later()
    assert made.verdict().kind is VerdictKind.LEARNING


def test_what_the_base_said_is_no_registration_of_an_unapplied_adapter(fleet: Make) -> None:
    given = toys()
    given.weights[OWN] = "base"
    made = fleet(given)
    given.weights[OWN] = OWN
    made.later()
    rows = made.world.rows(
        "SELECT retired_because FROM perplexity_runs WHERE version_id IS NOT NULL"
    )
    assert sorted(row.retired_because is None for row in rows) == [False] * 3 + [True] * 3
    made.later()
    assert made.verdict().detectors == ()


def test_an_adapter_that_is_lost_is_told_so_among_other_requests_too(fleet: Make) -> None:
    """Rounding moves documents by more than the repeats at registration did."""
    given = toys()
    given.dtype = "bfloat16"
    made = fleet(given)
    made.toys.weights[OWN] = "base"
    made.toys.shift[OWN, ""] = 0.0045
    made.later()
    told = made.verdict()
    assert told.blame is Blame.SERVING
    assert "not applied" in told.reason


def test_an_adapter_that_is_lost_later_is_told_and_clears_when_it_is_back(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.weights[OWN] = "base"
    made.later()
    told = made.verdict()
    assert told.blame is Blame.SERVING
    assert "not applied" in told.reason
    made.toys.weights[OWN] = OWN
    made.later()
    made.later()
    assert made.verdict().kind is VerdictKind.STABLE


def test_a_mix_up_names_the_sibling_beside_its_words(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.weights[OWN] = "sales"
    made.later()
    told = made.verdict()
    assert told.blame is Blame.SERVING
    assert "mixed up, unless both hold the same weights: it answers as another" in told.reason
    stored = made.score()
    for words in (told.reason, stored.reason, stored.details["identity"]["reason"]):
        assert "sales" not in words
    assert stored.details["identity"]["sibling"] == "sales"
    assert score(stored).reason == f"{stored.reason}; the other adapter: sales"
    assert answers_as({"perplexity": stored}) == "sales"
    assert answers_as({}) == ""


def test_a_mix_up_is_one_among_other_requests_too(fleet: Make) -> None:
    """Rounding moves documents by more than the repeats at registration did."""
    given = toys("sales")
    given.dtype = "bfloat16"
    made = fleet(given)
    made.probe(made.register("sales"))
    made.toys.weights[OWN] = "sales"
    made.toys.shift[OWN, ""] = 0.0045
    made.later()
    assert made.verdict().blame is Blame.SERVING
    assert made.score().details["identity"]["sibling"] == "sales"


def test_the_same_weights_under_a_second_name_are_no_mix_up(world: Any) -> None:
    given = toys("alias", hashes=True)
    given.weights["alias"] = OWN
    made = Fleet(world, given)
    made.probe()
    alias = made.register("alias")
    made.probe(alias)
    assert made.verdict(alias).detectors == ()


def test_weights_far_from_what_was_registered_are_wrong(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 2.0
    made.later()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "wrong weights" in told.reason


def test_other_weights_as_far_from_the_base_page_within_one_probe(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.weights[OWN] = "weights of another training"
    made.later()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "from what was registered (line 0.05)" in told.reason
    assert made.score().details["identity"]["state"] == "wrong_weights"
    made.toys.weights[OWN] = OWN
    for _ in range(2):
        made.later()
    assert made.verdict().kind is not VerdictKind.CRITICAL


def test_an_engine_that_moved_everything_makes_no_weights_wrong(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.weights |= {
        name: f"{weights} in 4 bits" for name, weights in made.toys.weights.items()
    }
    made.later()
    assert made.verdict().blame is Blame.BASE
    assert made.score().details["identity"]["state"] != "wrong_weights"


@pytest.mark.parametrize("other", [False, True])
def test_six_percent_is_degraded_in_one_probe_where_other_weights_answer(
    fleet: Make, *, other: bool
) -> None:
    made = fleet(toys())
    unevenly(made, 1.06)
    if other:
        made.toys.expects[OWN] = "weights of another training"
    made.later()
    assert made.score().details["degraded"] is other
    if other:
        assert "other weights answer" in made.verdict().reason


def test_unchanged_weights_on_this_machine_are_not_run_again(fleet: Make) -> None:
    made = fleet(toys(source=PerplexitySource.LOCAL, hashes=True))
    made.asked()
    made.later()
    assert made.asked() == []
    assert made.verdict().detectors == ()
    made.toys.weights[OWN] = "others"
    made.later()
    assert made.asked().count((OWN, "general", 40)) == 2


@pytest.mark.parametrize(("made_by", "now"), [("engine", "toy 2"), ("dtype", "bfloat16")])
def test_unchanged_weights_are_run_again_by_another_engine_or_arithmetic(
    fleet: Make, made_by: str, now: str
) -> None:
    made = fleet(toys(source=PerplexitySource.LOCAL, hashes=True))
    made.asked()
    setattr(made.toys, made_by, now)
    made.later()
    assert made.asked() == [(OWN, "general", 40)]
    made.later()
    assert made.asked() == []


def test_a_week_at_six_percent_is_degraded_by_its_mean(fleet: Make) -> None:
    made = fleet(toys())
    unevenly(made, 1.052, spread=0.5)
    day = timedelta(days=1)
    for _ in range(6):
        made.later(by=day)
    assert "7-day mean" not in made.verdict().reason
    made.later(by=day)
    assert made.score().details["trend"]["mean_7d"] == pytest.approx(0.052, abs=1e-3)
    assert "7-day mean +5.2%" in made.verdict().reason
    assert made.verdict().kind is VerdictKind.CRITICAL


def test_a_declared_change_of_the_engine_holds_the_probe_up(fleet: Make) -> None:
    made = fleet(toys())
    made.world.database.run(
        lambda tx: changes.add(
            tx,
            Declaration(
                kind=ChangeKind.ENGINE, title="vLLM 0.33", adapters=None,
                begun_at=datetime.now(tz=UTC) - HOUR, ended_at=None, author="ann",
            ),
        )
    )  # fmt: skip
    made.asked()
    assert made.probe() is Ending.POSTPONED
    assert made.asked() == []


def test_a_change_that_begins_while_a_probe_runs_discards_what_it_found(fleet: Make) -> None:
    made = fleet(toys())
    before = made.verdict().kind
    whole = made.toys._run  # noqa: SLF001 - something happens in the middle of a run

    def begun_meanwhile(target: Any, corpus: Any, *, replica: Any) -> Any:
        run = whole(target, corpus, replica=replica)
        made.toys._run = whole  # noqa: SLF001 - something happens in the middle of a run
        made.toys.engine_shift = 0.5
        made.world.database.run(
            lambda tx: changes.add(
                tx,
                Declaration(
                    kind=ChangeKind.ENGINE, title="vLLM 0.33", adapters=None,
                    begun_at=datetime.now(tz=UTC), ended_at=None, author="ann",
                ),
            )
        )  # fmt: skip
        return run

    made.toys.engine_shift = 0.5
    made.toys._run = begun_meanwhile  # noqa: SLF001 - something happens in the middle of a run
    assert made.later() is Ending.POSTPONED
    assert made.verdict().kind is before


def test_a_registration_is_of_one_engine(fleet: Make) -> None:
    made = fleet(toys("sales"))
    sales = made.register("sales")
    made.toys.allowed = 1
    assert made.probe(sales) is Ending.POSTPONED
    made.toys.allowed, made.toys.engine, made.toys.engine_shift = None, "toy 2", 0.02
    assert made.probe(sales) is Ending.POSTPONED
    assert made.probe(sales) is Ending.DONE
    held = made.world.rows(
        "SELECT engine FROM perplexity_runs WHERE model = 'sales' AND retired_at IS NULL"
    )
    assert [row.engine for row in held] == ["toy 2"] * 3
    assert made.score(sales).details["corpora"][0]["floor"] == pytest.approx(1e-3)


def retire(made: Fleet, adapters_: list[str] | None = None) -> int:
    return made.world.database.run(
        lambda tx: perplexity.retire_registrations(
            tx, adapters=adapters_, because="engine change 1", at=datetime.now(tz=UTC)
        )
    )


def test_a_declared_change_registers_the_fleet_anew_and_closes_what_it_explains(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    made.toys.engine_shift = 0.08
    made.later()
    assert made.verdict().kind is VerdictKind.CRITICAL
    assert retire(made) == 7  # three of each version and the base's
    assert made.world.claim(EvaluationKind.PERPLEXITY) is not None
    made.later()
    told = made.verdict()
    assert told.kind is VerdictKind.STABLE
    assert "registration was retired" in told.reason
    made.later()
    assert made.verdict().detectors == ()


def test_a_declared_change_of_one_adapter_leaves_the_others(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.probe(made.register("sales"))
    assert retire(made, ["sales"]) == 3
    assert retire(made, ["sales"]) == 0
    left = made.world.rows(
        "SELECT DISTINCT model FROM perplexity_runs WHERE retired_at IS NULL ORDER BY model"
    )
    assert [row.model for row in left] == ["base", OWN]


def changed_for_sales_alone(made: Fleet) -> Any:
    """An engine change that was declared for one adapter, though it moved all of them."""
    sales = made.register("sales")
    made.probe(sales)
    made.toys.engine_shift = 0.08
    made.age(HOUR)
    retire(made, ["sales"])
    made.probe(sales)
    return sales


def test_a_base_is_not_blamed_for_a_change_before_a_version_was_registered_anew(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    sales = changed_for_sales_alone(made)
    made.later(sales)
    assert made.verdict(sales).detectors == ()
    made.toys.shift["sales", ""] = 0.1
    made.later(sales)
    told = made.verdict(sales)
    assert (told.kind, told.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert "base model unchanged" in told.reason
    # for the adapter that was not named, its base has moved
    made.probe()
    assert made.verdict().blame is Blame.BASE
    made.toys.shift.clear()
    made.toys.engine_shift = 0.5
    made.later(sales)
    assert made.verdict(sales).blame is Blame.BASE


def test_siblings_that_were_not_named_in_a_change_are_no_company(fleet: Make) -> None:
    given = toys("a", "sales")
    given.base_of = lambda _target: None  # type: ignore[method-assign, assignment]
    made = fleet(given)
    made.probe(made.register("a"))
    sales = changed_for_sales_alone(made)
    made.toys.shift["sales", ""] = 0.1
    made.later(sales)
    assert "siblings" not in made.verdict(sales).reason  # nobody knows them as they were
    assert made.verdict(sales).blame is not Blame.BASE


def test_siblings_are_compared_with_what_they_said_since_a_change(fleet: Make) -> None:
    given = toys("a", "sales")
    given.base_of = lambda _target: None  # type: ignore[method-assign, assignment]
    made = fleet(given)
    a = made.register("a")
    made.probe(a)
    sales = changed_for_sales_alone(made)
    made.probe()
    made.probe(a)
    made.toys.shift["sales", ""] = 0.1
    made.later(sales)
    assert "0 of 2 siblings moved" in made.verdict(sales).reason


def test_a_version_that_is_registered_late_has_its_base_asked_beside_it(fleet: Make) -> None:
    made = fleet(toys("sales"))
    made.toys.engine_shift = 0.08  # and nobody declared it
    made.age(10 * HOUR)
    sales = made.register("sales")
    made.asked()
    made.probe(sales)
    assert made.asked().count(("base", "general", 40)) == 1
    made.toys.shift["sales", ""] = 0.1
    made.later(sales)
    assert made.verdict(sales).blame is Blame.ADAPTER
    assert "base model unchanged" in made.verdict(sales).reason


def test_a_probe_under_way_when_registrations_are_retired_writes_nothing(fleet: Make) -> None:
    made = fleet(toys())
    made.world.make_due()
    claim = made.world.claim(EvaluationKind.PERPLEXITY)
    retire(made)
    with pytest.raises(tasks.StaleLease):
        made.evaluator.evaluate(claim)


def test_a_registration_under_way_when_registrations_are_retired_is_not_stored(
    fleet: Make,
) -> None:
    made = fleet(toys("sales"))
    sales, whole = made.register("sales"), made.toys._run  # noqa: SLF001 - something happens in the middle of a run

    def retired_meanwhile(target: Any, corpus: Any, *, replica: Any) -> Any:
        made.toys._run = whole  # noqa: SLF001 - something happens in the middle of a run
        retire(made)
        return whole(target, corpus, replica=replica)

    made.toys._run = retired_meanwhile  # noqa: SLF001 - something happens in the middle of a run
    with pytest.raises(tasks.StaleLease):
        made.probe(sales)
    assert made.asked()[-1] == ("sales", "general", 40)
    assert made.world.rows("SELECT 1 FROM perplexity_runs WHERE retired_at IS NULL") == []


def test_an_adapter_whose_distance_to_the_base_moved_is_told_after_a_declared_change(
    fleet: Make,
) -> None:
    made = fleet(toys())
    retire(made)
    made.toys.engine_shift = 0.02
    made.toys.shift[OWN, ""] = 1.5
    made.later()
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.DRIFTING, Blame.ADAPTER)
    assert "registered anew after a declared change" in told.reason


def test_a_replaced_corpus_keeps_a_degraded_finding_open_and_says_so(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.2
    made.later()
    assert made.verdict().kind is VerdictKind.CRITICAL
    made.toys.texts = (replace(GENERAL, documents=GENERAL.documents[1:]),)
    for _ in range(4):
        made.later()
        assert made.verdict().kind is VerdictKind.CRITICAL
        assert "whose texts have been replaced since" in made.verdict().reason
    made.toys.texts = (GENERAL,)
    made.toys.shift.clear()
    made.later()
    made.later()
    assert made.verdict().kind is VerdictKind.STABLE


def test_documents_that_are_lost_are_told_once_a_second_run_has_lost_them_too(fleet: Make) -> None:
    made = fleet(toys("a", "b"))
    for name in ("a", "b"):
        made.probe(made.register(name))
    made.toys.lost_documents[OWN] = 39
    made.asked()
    made.later()
    assert made.asked().count((OWN, "general", 40)) == 2
    told = made.verdict()
    assert (told.kind, told.blame) == (VerdictKind.DRIFTING, Blame.ADAPTER)
    assert "39 documents that were registered cannot be scored now" in told.reason
    assert "base model unchanged; 0 of 2 siblings moved" in told.reason
    made.toys.lost_documents["base"] = 40
    made.later()
    assert made.verdict().blame is Blame.BASE
    assert "it scores none of the documents now" in made.verdict().reason
    made.toys.lost_documents[OWN] = 40
    assert made.later() is Ending.POSTPONED
    tasks_ = made.world.rows("SELECT stopped FROM tasks WHERE stopped IS NOT NULL")
    assert "none of 40 registered documents can be scored now" in tasks_[0].stopped


def test_a_run_that_stopped_is_tried_again_and_says_nothing(fleet: Make) -> None:
    made = fleet(toys())
    before = made.verdict()
    made.toys.stops[OWN] = "the engine queues 3 requests"
    (answered,) = probes(made)
    assert (answered.version, answered.stopped) == ("v7", None)
    assert made.later() is Ending.POSTPONED
    (stopped,) = probes(made)
    assert stopped.stopped is not None
    assert "the engine queues 3 requests" in stopped.stopped
    assert stopped.answered_at is not None
    assert answered.answered_at is not None
    assert stopped.answered_at == answered.answered_at - 6 * HOUR  # the Fleet ages what is stored
    made.toys.stops.clear()
    assert made.probe() is Ending.DONE
    assert made.verdict().kind is before.kind
    (again,) = probes(made)
    assert again.stopped is None
    assert again.answered_at is not None
    assert again.answered_at > answered.answered_at > stopped.answered_at


def probes(made: Fleet) -> Sequence[ProbeRow]:
    return made.world.database.run(probing.probe_rows)


def test_a_probe_that_is_let_go_on_for_one_run_at_a_time_comes_to_its_end(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN)))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.allowed = 1
    made.asked()
    endings = [made.later()]
    while endings[-1] is Ending.POSTPONED:
        made.toys.allowed = 1
        endings.append(made.probe())
    assert made.verdict().kind is VerdictKind.CRITICAL
    assert "base model unchanged" in made.verdict().reason
    # each corpus twice and the base over one, nothing again but what is told at the end
    assert sorted(made.asked()) == sorted(
        [(OWN, "general", 40), (OWN, "support", 30)] * 2
        + [("base", "general", 40), (OWN, "support", 30)]
    )


def test_a_finding_does_not_wait_for_ever_for_a_busy_engine(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.3
    once = made.toys._run  # noqa: SLF001 - something happens in the middle of a run

    def without_time_for_the_base(target: Any, corpus: Any, *, replica: Any) -> Any:
        if target.model == "base":
            raise ProbeFailed("probes have had their share", permanent=False, asked=False)
        return once(target, corpus, replica=replica)

    made.toys._run = without_time_for_the_base  # noqa: SLF001 - something happens in the middle of a run
    assert made.later() is Ending.POSTPONED
    made.age(timedelta(minutes=20))
    made.toys.allowed = 0
    assert made.probe() is Ending.POSTPONED  # without a word from the engine nothing is told
    made.toys.allowed = 1
    assert made.probe() is Ending.DONE
    assert made.verdict().kind is VerdictKind.CRITICAL
    assert made.verdict().blame is Blame.UNKNOWN


def test_another_process_begins_a_probe_anew(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.3
    made.toys.allowed = 2
    assert made.later() is Ending.POSTPONED
    made.toys.allowed = None
    made.toys.shift.clear()
    assert made.probe(owner="the next one") is Ending.DONE
    assert made.verdict().detectors == ()


def test_what_is_gone_when_a_stopped_probe_goes_on_is_not_told(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.3
    made.toys.allowed = 2
    assert made.later() is Ending.POSTPONED
    made.toys.allowed = None
    made.toys.shift.clear()
    assert made.probe() is Ending.POSTPONED
    (stopped,) = probes(made)
    assert stopped.stopped == "what an earlier try has read is gone since"
    assert made.probe() is Ending.DONE
    assert made.verdict().detectors == ()


def test_weights_that_were_replaced_between_two_readings_void_both(fleet: Make) -> None:
    made = fleet(toys("sales", hashes=True))
    made.toys.shift[OWN, ""] = 0.3
    made.toys.weights[OWN] = "damaged"
    once = made.toys._run  # noqa: SLF001 - something happens in the middle of a run

    def replaced_after(target: Any, corpus: Any, *, replica: Any) -> Any:
        run = once(target, corpus, replica=replica)
        made.toys.weights[OWN] = "sales"
        return run

    made.toys._run = replaced_after  # noqa: SLF001 - something happens in the middle of a run
    assert made.later() is Ending.POSTPONED
    (stopped,) = probes(made)
    assert stopped.stopped == "the engine or the weights were replaced between two readings"
    assert made.verdict().detectors == ()


def test_a_corpus_that_was_read_before_the_weights_were_replaced_is_asked_again(
    fleet: Make,
) -> None:
    """The first try has read the general corpus of sound weights; the second one met others."""
    made = fleet(toys("sales", texts=(GENERAL, DOMAIN), hashes=True))
    made.probe(made.register("sales"))
    made.toys.would_repeat = lambda *_: False
    made.asked()
    made.toys.allowed = 1
    assert made.later() is Ending.POSTPONED
    made.toys.allowed = None
    made.toys.weights[OWN] = "sales"
    assert made.probe() is Ending.DONE
    assert made.asked().count((OWN, "general", 40)) == 3  # once of each weights, and confirmed
    assert "mixed up" in made.verdict().reason
    assert made.verdict().blame is Blame.SERVING


def test_weights_that_are_replaced_again_and_again_are_not_compared(fleet: Make) -> None:
    made = fleet(toys(texts=(GENERAL, DOMAIN), hashes=True))
    made.toys.would_repeat = lambda *_: False
    once = made.toys._run  # noqa: SLF001 - something happens after each run

    def replaced_after(target: Any, corpus: Any, *, replica: Any) -> Any:
        run = once(target, corpus, replica=replica)
        made.toys.weights[OWN] += "!"
        return run

    made.toys._run = replaced_after  # noqa: SLF001 - something happens after each run
    assert made.later() is Ending.POSTPONED
    (stopped,) = probes(made)
    assert stopped.stopped == "the engine or the weights were replaced between two corpora"
    assert made.verdict().detectors == ()


def test_a_run_of_other_weights_is_no_first_time(fleet: Make) -> None:
    made = fleet(toys(hashes=True))
    unevenly(made, 1.06)
    made.toys.expects[OWN] = OWN
    made.toys.weights[OWN] = "one"
    made.toys.shift[OWN, ""] = 0.0
    made.later()
    assert made.verdict().kind is VerdictKind.DRIFTING
    first = made.verdict().reason
    made.toys.engine = "toy 2"
    made.later()
    assert "for the second time" not in first + made.verdict().reason


def test_an_adapter_lost_on_one_replica_is_told_though_the_other_applies_it(fleet: Make) -> None:
    made = fleet(toys(kind=ReplicatedToys))
    made.toys.lost["http://two"] = OWN
    made.toys.turn = 1
    made.later()
    assert "not applied" in made.verdict().reason
    assert made.verdict().blame is Blame.SERVING


def test_a_base_that_stops_leaves_the_blame_open(fleet: Make) -> None:
    made = fleet(toys())
    made.toys.shift[OWN, ""] = 0.3
    made.toys.stops["base"] = "HTTP 500"
    made.later()
    told = made.verdict()
    assert told.kind is VerdictKind.CRITICAL
    assert told.blame is Blame.UNKNOWN
    assert "the base model could not be asked" in told.reason
