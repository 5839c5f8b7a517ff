"""Whatever others hold of the memory for bodies, the next one finds room."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.room import Room

NAMES = "abcdef"


def test_one_alone_holds_half_and_gives_it_back() -> None:
    room = Room(10)
    assert room.take(5, holder="a")
    assert not room.take(1, holder="a")
    room.give(5, holder="a")
    assert (room.used, room.take(5, holder="a")) == (0, True)


@given(wanted=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 30)), max_size=80))
def test_of_n_that_take_all_they_may_each_leaves_as_much_for_the_next(
    wanted: list[tuple[str, int]],
) -> None:
    room, held = Room(700), dict.fromkeys(NAMES, 0)
    for name, size in wanted:
        held[name] += size if room.take(size, holder=name) else 0
    assert room.used == sum(held.values())
    assert room.take(700 // (len(NAMES) + 1), holder="newcomer")
