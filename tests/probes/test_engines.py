from contextlib import ExitStack

import pytest

from monitor.probes.asking import Target
from monitor.probes.errors import ModelNotServed, ProbeFailed
from tests.probes.fake_engine import FakeEngine, serving
from tests.probes.served import BASE, CORPUS, SUPPORT, engines_of, served

AWAY = "http://127.0.0.1:9"


def lora(*running: str, at: float = 5.0) -> str:
    names = ",".join(running)
    return f'vllm:lora_requests_info{{max_lora="2",running_lora_adapters="{names}"}} {at}'


def test_a_model_is_served_where_every_replica_that_answers_lists_it() -> None:
    with serving(FakeEngine()) as up:
        engines = engines_of([up, AWAY])
        assert engines.listing("support@v7").everywhere
        assert not engines.listing("unknown").everywhere
    assert not engines_of([AWAY]).listing("base").everywhere
    assert not engines_of([]).listing("base").everywhere


def test_an_engine_that_stays_away_is_told_of_once(capfd: pytest.CaptureFixture[str]) -> None:
    engines = engines_of([AWAY])
    for _ in range(3):
        assert engines.adapters() == ()
    assert "".join(capfd.readouterr()).count("engine_unreachable") == 1


def test_only_replicas_that_hold_the_model_are_asked() -> None:
    other = FakeEngine(models=[{"id": "base", "parent": None}])
    with serving(FakeEngine()) as one, serving(other) as two:
        probe = served(one, f"{two}/v1")
        assert {probe.score(SUPPORT, CORPUS).replica for _ in range(3)} == {one}
        assert probe.replicas_of(SUPPORT) == (one,)
        assert probe.replicas_of(BASE) == (one, two)
        with pytest.raises(ModelNotServed):
            probe.replicas_of(Target(model="unknown"))


def test_replicas_take_turns_for_each_adapter() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(FakeEngine())) for _ in range(3)]
        probe = served(*urls)
        # two adapters in turn must not settle on a replica each
        asked = [(t.model, probe.score(t, CORPUS).replica) for t in [SUPPORT, BASE] * 3]
    assert [replica for model, replica in asked if model == "base"] == urls
    assert [replica for model, replica in asked if model != "base"] == urls


def test_a_confirmation_goes_to_the_replica_it_names() -> None:
    with serving(FakeEngine()) as one, serving(FakeEngine(nll=0.7)) as two:
        probe = served(one, two)
        first = probe.score(SUPPORT, CORPUS)
        again = probe.score(SUPPORT, CORPUS, replica=first.replica)
        other = probe.score(SUPPORT, CORPUS, replica=two)
        assert (first.replica, again.replica, other.replica) == (one, one, two)
        assert again.documents == first.documents
        assert other.documents != first.documents
        assert probe.read(SUPPORT, ["a b"], replica=two).chosen.tolist() == [-0.7, -0.7]
        with pytest.raises(ProbeFailed, match="does not serve 'support@v7' now"):
            probe.score(SUPPORT, CORPUS, replica="http://elsewhere:8000")


def test_a_replica_that_has_the_adapter_at_hand_goes_first_but_not_for_ever() -> None:
    cold, warm = FakeEngine(metrics=lora("other")), FakeEngine(metrics=lora("support@v7"))
    with serving(cold) as one, serving(warm) as two:
        probe = served(one, two)
        asked = [probe.score(SUPPORT, CORPUS).replica for _ in range(9)]
    # whenever the cold one has waited longest it loses its turn twice, then it gets it
    assert "".join("w" if url == two else "c" for url in asked) == "wwcwwwcww"


def test_replicas_that_all_have_it_at_hand_take_turns() -> None:
    with ExitStack() as stack:
        urls = [
            stack.enter_context(serving(FakeEngine(metrics=lora("support@v7")))) for _ in range(2)
        ]
        probe = served(*urls)
        assert [probe.score(SUPPORT, CORPUS).replica for _ in range(4)] == urls * 2


def test_adapters_at_hand_anywhere_are_told() -> None:
    with (
        serving(FakeEngine(metrics=lora("a"))) as one,
        serving(FakeEngine(metrics=lora("b"))) as two,
        serving(FakeEngine(metrics=None)) as three,
    ):
        engines = engines_of([one, two, three, AWAY])
        assert engines.resident(["a", "b", "c"]) == {"a", "b"}


def test_a_second_name_of_a_version_is_no_sibling_but_its_folder_under_anothers_is() -> None:
    folder = "/models/support/v7"
    names = ("support", "support@v7", "booking@v1")
    models: list[dict[str, str | None]] = [{"id": "base", "parent": None}]
    models += [{"id": name, "parent": "base", "root": folder} for name in names]
    models.append({"id": "support@v8", "parent": "base", "root": f"{folder}-next"})
    with serving(FakeEngine(models=models)) as url:
        engines = engines_of([url])
        assert set(engines.siblings_of("support@v7")) == {"booking@v1", "support@v8"}
        assert set(engines.siblings_of("support")) == {"booking@v1", "support@v8"}
        assert set(engines.siblings_of("booking@v1")) == {"support", "support@v7", "support@v8"}


def test_the_second_name_that_kserve_gives_is_of_the_same_adapter() -> None:
    """From 0.20 it serves each model under a name of its namespace, too."""
    models: list[dict[str, str | None]] = [{"id": "base"}, {"id": "publishers/llm/models/base"}]
    for name in ("support@v7", "support@v8", "booking@v1"):
        card: dict[str, str | None] = {"parent": "base", "root": f"/mnt/lora/{name}"}
        models += [card | {"id": name}, card | {"id": f"publishers/llm/models/{name}"}]
    del models[-2]  # of the last one only the second name is listed
    with serving(FakeEngine(models=models)) as url:
        engines = engines_of([url])
        names = ["support@v7", "support@v8", "publishers/llm/models/booking@v1"]
        assert [card.id for card in engines.adapters()] == names
        assert set(engines.siblings_of("support@v7")) == set(names[1:])
        qualified = "publishers/llm/models/support@v7"
        assert set(engines.siblings_of(qualified)) == set(names[1:])
        assert [one.url for one in engines.holding(qualified)] == [url]


def test_an_address_is_shown_without_credentials() -> None:
    engines = engines_of(["http://user:hunter2@127.0.0.1:9/engine/v1"])
    with pytest.raises(ProbeFailed) as caught:
        engines.holding("base")
    assert "hunter2" not in str(caught.value)


def test_nothing_configured_serves_nothing() -> None:
    with pytest.raises(ProbeFailed, match="no engine is configured"):
        engines_of([]).choose("base")
