"""What is done when answers are over: together, soon, and each on its own account."""

import asyncio

from monitor.gateway.afterwards import AT_ONCE, Afterwards


def test_work_is_done_together_and_one_that_fails_costs_the_others_nothing() -> None:
    done: list[str] = []

    def fails() -> None:
        raise ValueError("this answer cannot be counted")

    async def go() -> list[str]:
        afterwards, over = Afterwards(), asyncio.Event()
        for work in (lambda: done.append("first"), fails, lambda: done.append("second"), over.set):
            afterwards.add(work)
        assert done == []  # nobody who waits for an answer is held up
        await asyncio.wait_for(over.wait(), timeout=60)
        for _ in range(3 * AT_ONCE):
            afterwards.add(lambda: done.append("one of many"))
        over.clear()
        afterwards.add(over.set)
        await asyncio.wait_for(over.wait(), timeout=60)
        assert done[2:] == ["one of many"] * (3 * AT_ONCE)
        del done[2:]
        afterwards.add(lambda: done.append("third"))
        afterwards.settle()
        afterwards.settle()
        return list(done)

    assert asyncio.run(go()) == ["first", "second", "third"]
