"""The house's prose keeps its rules, and the check sees where it does not."""

import pytest

from tests.docs.prose import docstring_faults, every_fault, faults, string_faults, template_faults

PLANTED = {
    "Whoever heard of it hears of its end.": "Whoever",
    "This release has fewer false positives.": "false positives",
    "It is told by\nwhichever way there is.": "by whichever way",
    "Nobody never reads it.": "Nobody never",
    "It is not unlikely.": "not unlikely",
    "| a | It fell. Was it wanted? |": "Was it",
    "What goes on is found again.": "found again",
    f"{'word ' * 36}end.": f"{'word ' * 12}"[:60],
}


@pytest.mark.parametrize(("text", "said"), PLANTED.items(), ids=lambda one: one[:20].strip())
def test_a_planted_fault_is_found_on_its_line(text: str, said: str) -> None:
    page = f"# A page\n\nIt says one true thing.\n\n{text}\n"
    assert [(one.place, one.said) for one in faults("docs/page.md", page)] == [
        ("docs/page.md:5", said)
    ]


def test_a_sentence_that_begins_further_down_is_found_on_its_own_line() -> None:
    page = "It is short. So is this\none, still. Whoever reads it\nis content.\n"
    assert [one.place for one in faults("docs/page.md", page)] == ["docs/page.md:2"]


def test_code_and_remarks_are_no_prose_and_a_list_is_many_sentences() -> None:
    page = "```\nwhoever\n```\n<!-- whoever -->\n`whoever` reads:\n\n" + "- some words\n" * 30
    assert list(faults("docs/page.md", page)) == []


def test_a_decision_is_held_to_the_glossary_alone() -> None:
    text = "Whoever counts false positives."
    assert [one.said for one in faults("docs/decisions/0001-a.md", text)] == ["false positives"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('    """What the daemon does."""', "What"),
        ('    """Tell whoever asked."""', "whoever"),
        ('    """Tell the sender."""', None),
        ('    # whoever reads this"', None),
    ],
)
def test_docstrings_are_read_by_their_first_line(line: str, said: str | None) -> None:
    found = docstring_faults("monitor/a.py", f"import os\n\n{line}\n")
    assert [(one.place, one.said) for one in found] == ([("monitor/a.py:3", said)] if said else [])


def test_a_web_page_is_read_without_its_tags_and_a_module_without_its_names() -> None:
    page = '<p class="whoever">\n{% if whoever %}\n<b>{{ whoever }}</b> Whoever{% endif %}</p>'
    assert [one.place for one in template_faults("a.html", page)] == ["a.html:3"]
    module = '"""Whoever."""\n\nwhoever = ["say", f"{1} whoever asks"]\n'
    assert [one.place for one in string_faults("a.py", module)] == ["a.py:3"]


def test_nothing_in_the_house_breaks_a_rule() -> None:
    assert [str(one) for one in every_fault()] == []
