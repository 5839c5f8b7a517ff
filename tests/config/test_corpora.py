from pathlib import Path

import pytest

from monitor.config.corpora import read_corpora
from monitor.config.loading import parse
from monitor.config.reading import ConfigError
from monitor.config.sections import Config
from monitor.daemon.parts import serving_of
from monitor.probes.corpus import CorpusRole, load_corpus

GOOD = '{"id": "a", "text": "I lost my card."}\n'


def corpora_of(tmp_path: Path, adapters: dict[str, str], **sections: dict[str, object]) -> Config:
    table = {name: {"corpus": str(tmp_path / file)} for name, file in adapters.items()}
    engines = {"serving": {"engines": ["http://127.0.0.1:9"]}}
    return parse({"adapters": table, **engines, **sections}, source="test", environ={})


def test_without_files_there_is_the_built_in_corpus_alone() -> None:
    found = read_corpora(Config())
    assert found.general == load_corpus()
    assert (found.domain, found.domains, found.problems) == (None, {}, {})


def test_an_adapter_names_its_own_and_the_defaults_one_for_the_others(tmp_path: Path) -> None:
    for name in ("own.jsonl", "any.jsonl"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    config = corpora_of(
        tmp_path, {"support": "own.jsonl"}, defaults={"corpus": str(tmp_path / "any.jsonl")}
    )
    probe = serving_of(config).probe
    assert probe is not None
    assert [(c.name, c.role) for c in probe.corpora("support")] == [
        ("general", CorpusRole.GENERAL),
        ("own", CorpusRole.DOMAIN),
    ]
    assert [c.name for c in probe.corpora("unlisted")] == ["general", "any"]


def test_a_bad_file_is_named_with_its_line_and_costs_no_other_adapter(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text(GOOD + "{\n", encoding="utf-8")
    config = corpora_of(tmp_path, {"support": "good.jsonl", "travel": "bad.jsonl"})
    found = read_corpora(config)
    assert list(found.problems) == ["adapters.travel.corpus"]
    assert "bad.jsonl, line 2: not JSON" in found.problems["adapters.travel.corpus"]
    probe = serving_of(config).probe
    assert probe is not None
    assert [c.name for c in probe.corpora("support")] == ["general", "good"]
    assert [c.name for c in probe.corpora("travel")] == ["general"]


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.5])
def test_a_share_of_time_that_cannot_be_is_refused(budget: float) -> None:
    table = {"probes": {"perplexity": {"budget": budget}}}
    with pytest.raises(ConfigError, match=r"probes\.perplexity\.budget: must be above 0"):
        parse(table, source="test", environ={})
