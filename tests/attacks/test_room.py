"""Whatever others hold of the memory for bodies, the next one finds room."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.room import Room

NAMES = "abcdef"
MOST = 700


def test_one_alone_holds_half_and_gives_it_back() -> None:
    room = Room(10)
    assert not room.take(6, holder="a")
    assert room.take(5, holder="a")
    assert not room.take(1, holder="a")
    room.give(5, holder="a")
    assert (room.used, room.take(5, holder="a")) == (0, True)


@given(wanted=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 99)), max_size=80))
def test_nobody_takes_more_than_is_left_and_the_next_one_has_half_of_that(
    wanted: list[tuple[str, int]],
) -> None:
    room, held = Room(MOST), dict.fromkeys(NAMES, 0)
    for name, size in wanted:
        if room.take(size, holder=name):
            held[name] += size
            assert held[name] <= MOST - room.used
    assert room.used == sum(held.values())
    # half is left after the first, half of that after the second ...
    assert MOST - room.used >= MOST // 2 ** len(NAMES)
    assert room.take((MOST - room.used) // 2, holder="newcomer")
