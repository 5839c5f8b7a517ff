from pathlib import Path

import pytest

from monitor.probes.corpus import CorpusInvalid, CorpusRole, load_corpus


def test_one_file_in_two_roles_holds_the_same_texts(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": "a", "text": "b"}', encoding="utf-8")
    general, domain = load_corpus(path), load_corpus(path, role=CorpusRole.DOMAIN)
    assert (general.role, domain.role) == (CorpusRole.GENERAL, CorpusRole.DOMAIN)
    assert general.id == domain.id


def test_a_line_that_is_nested_without_end_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": ' + "[" * 100_000, encoding="utf-8")
    with pytest.raises(CorpusInvalid, match="line 1: not JSON that can be read"):
        load_corpus(path)
