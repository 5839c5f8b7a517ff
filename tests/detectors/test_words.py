"""What detectors found is said in everyday words."""

import pytest

from detectors import DETECTORS, profile_of
from detectors.perplexity import PERPLEXITY
from detectors.signals import SIGNALS
from detectors.words import plain_words


@pytest.mark.parametrize(
    ("winner", "said"),
    [
        ("mean_nll:up", "answers less certain"),
        ("mean_nll:down", "answers more certain"),
        ("mean_nll:top5%", "answers less certain"),
        ("mean_nll:bottom1%", "answers more certain"),
        ("mean_nll:spread", "certainty of answers changed"),
        ("log_length:down", "answers shorter"),
        ("unheard_of:up", "confidence of answers changed"),
        ("latency_ms:high", "answers slower"),
        ("ttft_ms:top1%", "answers begin later"),
        ("similarity:bottom5%", "requests unlike the training examples"),
        ("topic_3:up", "the mix of topics changed"),
        ("topic_12:bottom5%", "the mix of topics changed"),
    ],
)
def test_a_winner_is_put_in_plain_words(winner: str, said: str) -> None:
    assert plain_words("logit_ks", winner) == said


def test_an_unknown_detector_is_named_rather_than_dropped() -> None:
    assert plain_words("tone_of_voice", None) == "tone of voice changed"


# design.md section 6 is the list; hard-coded here because these are promises to readers.
@pytest.mark.parametrize(
    "detector",
    [
        "logit_ks",
        "entropy",
        "perplexity",
        "input_similarity",
        "output_similarity",
        "repetition",
        "refusal",
        "empty",
        "truncated",
        "invalid",
        "errors",
        "non_finite",
        "missing",
        "latency",
        "feedback",
    ],
)
def test_every_detector_has_plain_words(detector: str) -> None:
    assert profile_of(detector).words is not None


def test_no_phrase_is_empty_or_ends_a_sentence() -> None:
    profiles = [profile_of(name) for name in (*DETECTORS, PERPLEXITY)]
    known = [one.words for one in SIGNALS.values()]
    known += [one.words for one in profiles]
    known += [phrases for one in profiles for phrases in one.findings.values()]
    for phrases in known:
        for phrase in phrases or ():
            assert phrase
            assert phrase == phrase.strip(" .;:")


@pytest.mark.parametrize("winner", ["answer_distance:top1%", "answer_distance:up"])
def test_answers_far_from_the_known_ones_are_said_to_be_unlike_them(winner: str) -> None:
    assert plain_words("output_similarity", winner) == "answers unlike those it was approved with"
