"""Answers that refuse, and answers that only sound like it."""

import re
from pathlib import Path

import numpy as np
import pytest

from monitor.capture.refusal import BEGINNING, PatternUnfit, languages, refuses, refusing
from monitor.config.loading import parse
from monitor.config.reading import ConfigError

REFUSALS = {
    "en": [
        "I'm sorry, but I can't help with that.",
        "I\u2019m unable to assist with that request.",
        "As an AI language model, I cannot provide medical advice.",
        "Unfortunately, I cannot provide any information about that.",
        "I must decline to answer this.",
        "That goes against my guidelines.",
    ],
    "de": [
        "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
        "Ich kann Ihnen bei dieser Anfrage leider nicht helfen.",
        "Als KI-Sprachmodell darf ich keine Rechtsberatung geben.",
        "Ich muss diese Anfrage leider ablehnen.",
    ],
    "fr": [
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Je ne suis pas en mesure de répondre à cette demande.",
        "En tant qu'IA, je ne peux pas donner de conseils médicaux.",
        "Je dois refuser.",
    ],
    "es": [
        "Lo siento, pero no puedo ayudarte con eso.",
        "No puedo proporcionar esa información.",
        "Como modelo de lenguaje, no puedo opinar.",
        "Me niego a hacer eso.",
    ],
    "it": [
        "Mi dispiace, ma non posso aiutarti con questo.",
        "Non sono in grado di rispondere.",
        "In quanto intelligenza artificiale, non posso dare opinioni.",
        "Devo rifiutare.",
    ],
    "pt": [
        "Desculpe, mas não posso ajudar com isso.",
        "Não estou autorizado a responder.",
        "Como modelo de linguagem, não posso opinar.",
        "Devo recusar esse pedido.",
    ],
    "nl": [
        "Het spijt me, maar daar kan ik je niet mee helpen.",
        "Ik kan je hier helaas niet bij helpen.",
        "Als AI-model mag ik geen medisch advies geven.",
        "Ik ben niet bevoegd om dat te doen.",
    ],
    "pl": [
        "Przykro mi, ale nie mogę w tym pomóc.",
        "Nie mogę udzielić takiej porady.",
        "Jako model językowy nie mogę wyrażać opinii.",
        "Muszę odmówić.",
    ],
    "ru": [
        "Извините, но я не могу помочь с этим.",
        "Я не могу предоставить такую информацию.",
        "Как языковая модель, я не могу давать советы.",
        "Я вынужден отказать.",
    ],
    "zh": [
        "抱歉,我无法提供这方面的帮助。",
        "對不起,我不能回答這個問題。",
        "作为一个人工智能语言模型,我不能提供医疗建议。",
        "很抱歉我无法满足您的请求",
    ],
    "ja": [
        "申し訳ありませんが、お手伝いできません。",
        "そのご質問にはお答えできません。",
        "AIとして、医療上の助言をすることはできません。",
        "お断りいたします。",
    ],
    "ko": [
        "죄송하지만 도와드릴 수 없습니다.",
        "그 정보는 제공할 수 없습니다.",
        "AI 언어 모델로서 의견을 가질 수 없습니다.",
        "답변하기 어렵습니다.",
    ],
    "ar": [
        "عذراً، لا أستطيع مساعدتك في ذلك.",
        "لا يمكنني تقديم هذه المعلومات.",
        "أنا غير قادر على الإجابة.",
    ],
    "hi": [
        "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
        "मैं यह जानकारी नहीं दे सकता।",
        "मैं ऐसा नहीं कर सकती।",
    ],
    "tr": [
        "Üzgünüm, bu konuda yardımcı olamam.",
        "İsteğinizi yerine getiremem.",
        "Bir yapay zeka modeli olarak bunu yapamam.",
    ],
}
ANSWERS = [
    "I'm sorry, there are no tables left at eight. Shall I try nine?",
    "I couldn't find that restaurant. Which city is it in?",
    "Your card cannot be used abroad until you activate it.",
    "You can refuse to pay if the goods never arrived.",
    "It can't be changed, but I can help you book another one.",
    "I can't help but notice that your account is overdrawn.",
    "Es gibt leider keinen freien Tisch. Soll ich es um neun versuchen?",
    "Leider kann die Karte im Ausland nicht benutzt werden.",
    "Je suis désolé, il n'y a plus de table à huit heures.",
    "Lo siento, no hay mesas libres a las ocho.",
    "Mi dispiace, non ci sono tavoli liberi.",
    "Desculpe, não há mesas livres às oito.",
    "Het spijt me, er is om acht uur geen tafel vrij.",
    "Niestety o ósmej nie ma wolnych stolików.",
    "К сожалению, в восемь свободных столиков нет.",
    "抱歉,八点没有空位。要不要试试九点?",
    "申し訳ありません、八時は満席です。",
    "죄송합니다. 여덟 시에는 자리가 없습니다.",
    "عذراً، لا توجد طاولات في الثامنة.",
    "क्षमा करें, आठ बजे कोई मेज़ खाली नहीं है।",
    "Üzgünüm, saat sekizde boş masa yok.",
    "",
    "   ",
]


def test_every_list_has_examples() -> None:
    assert languages() == sorted(REFUSALS)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(a, id=f"{code}-{i}")
        for code, said in REFUSALS.items()
        for i, a in enumerate(said)
    ],
)
def test_a_refusal_is_told_whatever_its_case(answer: str) -> None:
    assert refuses(answer)
    assert refuses(f"\n  {answer}")
    if answer.isascii():
        assert refuses(answer.upper())


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_brings_bad_news_is_no_refusal(answer: str) -> None:
    assert not refuses(answer)


def test_only_the_beginning_is_looked_at() -> None:
    assert not refuses("x " * BEGINNING + "I can't help with that.")


def test_what_was_thought_is_not_what_was_said() -> None:
    assert not refuses("<think>I can't help with that.</think>Here is your balance.")
    assert refuses(f"<think>{'hm ' * 500}</think>\nI can't help with that.")


def test_a_broken_character_hides_no_refusal() -> None:
    assert refuses("\ud83d I can't help with that.\0")
    assert not refuses("\udc00\0")


def test_hostile_text_takes_linear_time_and_breaks_nothing() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        points = rng.integers(0, 0x10FFFF, size=400)
        refuses("".join(map(chr, points.tolist())))  # lone surrogates and NUL among them
    assert not refuses("i am " * 1_000_000)


def test_files_of_patterns_stand_beside_the_built_in_lists(tmp_path: Path) -> None:
    own = tmp_path / "house.txt"
    own.write_text("# of this house\n\nask (your|the) branch\n", encoding="utf-8")
    refuses_ = refusing([own])
    assert refuses_("Please ASK\u00a0your branch about that.")
    assert refuses_("I can't help with that.")
    assert not refuses_("Your branch asks for nothing.")
    assert not refuses("Please ask your branch about that.")
    assert refusing([]) is refuses


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"fine\n(open\n", "line 2: no pattern: missing )"),
        (b"\n# \n(?=ahead)", "line 3: no pattern: invalid"),
        (b"no ?\nx*", "line 2: it matches an empty answer, and so every answer"),
        (b"\xff", "it is not text in UTF-8"),
        (None, "No such file or directory"),
    ],
)
def test_a_line_that_is_no_pattern_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "house.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PatternUnfit, match=re.escape(said)) as caught:
        refusing([path])
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match=r"capture\.refusal_patterns: "):
        parse({"capture": {"refusal_patterns": [str(path)]}}, source="test", environ={})
