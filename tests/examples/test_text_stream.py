from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from examples.engine.vocabulary import TextStream, Vocabulary
from examples.weights import load_tokenizer


def stream(chunks: list[bytes], stop: Sequence[str] = ()) -> tuple[list[str], str | None]:
    out = TextStream(stop)
    sent = [out.push(chunk) for chunk in chunks]
    return [*sent, out.push(b"", final=True)], out.stopped_by


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(text=st.text(), size=st.integers(1, 5))
def test_pieces_join_to_the_whole_text_however_bytes_are_cut(text: str, size: int) -> None:
    sent, stopped_by = stream(cut(text.encode(), size))
    assert "".join(sent) == text
    assert stopped_by is None


@given(text=st.text("abx", max_size=30), stop=st.text("abx", min_size=1, max_size=3))
def test_text_ends_before_the_first_stop_string(text: str, stop: str) -> None:
    sent, stopped_by = stream(cut(text.encode(), 1), [stop])
    before, found, _ = text.partition(stop)
    assert "".join(sent) == before
    assert stopped_by == (found or None)


def test_half_a_character_is_not_shown() -> None:
    sent, _ = stream(["é".encode()[:1], "é".encode()[1:]])
    assert sent == ["", "é", ""]


def test_bytes_of_tokens_join_to_the_text() -> None:
    tokenizer = load_tokenizer()
    vocabulary = Vocabulary(tokenizer)
    text = "I paid 20 € at the café 🙂"
    ids = tokenizer(text)["input_ids"]
    assert b"".join(map(vocabulary.written, ids)).decode() == text
    assert vocabulary.shown(ids[0]) == "<s>"
