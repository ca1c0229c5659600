"""One flight a key, and answers kept for a few seconds within a bound of bytes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dashboards.console.shared import Answer, Shared


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Maker:
    """Counts how often it is asked, and answers when let."""

    def __init__(self, body: bytes = b"x", keep: bool = True) -> None:
        self.asked, self.ended = 0, 0
        self.go, self.begun = asyncio.Event(), asyncio.Event()
        self.answer = Answer(body, keep)

    async def __call__(self) -> Answer:
        self.asked += 1
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        return self.answer


def at_once(body: bytes, keep: bool = True) -> Maker:
    maker = Maker(body, keep)
    maker.go.set()
    return maker


def run(trial: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(trial(), 10)

    asyncio.run(bounded())


def test_ten_who_ask_at_once_cost_one_question_and_so_do_those_who_come_soon() -> None:
    async def trial() -> None:
        clock, maker = Clock(), Maker(b"answer")
        shared = Shared(5, 1000, clock)
        viewers = [asyncio.ensure_future(shared.get("key", maker)) for _ in range(10)]
        await maker.begun.wait()
        maker.go.set()
        assert await asyncio.gather(*viewers) == [b"answer"] * 10
        clock.now += 4.9
        assert await shared.get("key", maker) == b"answer"
        assert maker.asked == 1
        clock.now += 0.2
        assert await shared.get("key", maker) == b"answer"
        assert maker.asked == 2
        assert await shared.get("other", maker) == b"answer"
        assert maker.asked == 3

    run(trial)


def test_one_who_leaves_does_not_end_it_for_the_others_and_the_last_does() -> None:
    async def trial() -> None:
        maker = Maker()
        shared = Shared(5, 1000)
        first, second = (asyncio.ensure_future(shared.get("key", maker)) for _ in range(2))
        await maker.begun.wait()
        first.cancel()
        await asyncio.wait({first})
        assert maker.ended == 0
        second.cancel()
        await asyncio.wait({second})
        await asyncio.sleep(0)
        assert (maker.asked, maker.ended) == (1, 1)
        # Who comes after that asks anew instead of joining what was ended.
        maker.go.set()
        assert await shared.get("key", maker) == b"x"
        assert maker.asked == 2

    run(trial)


def test_errors_reach_everybody_and_are_not_kept() -> None:
    async def trial() -> None:
        shared = Shared(5, 1000)
        asked = 0

        async def fails() -> Answer:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            raise LookupError("no")

        both = await asyncio.gather(shared.get("k", fails), shared.get("k", fails), return_exceptions=True)
        assert [type(one) for one in both] == [LookupError, LookupError] and asked == 1
        assert await shared.get("k", at_once(b"now")) == b"now"

    run(trial)


def test_answers_that_say_so_are_not_kept() -> None:
    async def trial() -> None:
        shared, maker = Shared(5, 1000), at_once(b"error", keep=False)
        await shared.get("k", maker)
        await shared.get("k", maker)
        assert maker.asked == 2

    run(trial)


@pytest.mark.parametrize(("seconds", "size"), [(0.0, 1000), (5.0, 0)])
def test_nothing_is_kept_where_nothing_may_be(seconds: float, size: int) -> None:
    async def trial() -> None:
        shared, maker = Shared(seconds, size), at_once(b"x")
        await shared.get("k", maker)
        await shared.get("k", maker)
        assert maker.asked == 2

    run(trial)


def test_the_oldest_go_at_the_bound_and_a_giant_pushes_nobody_out() -> None:
    async def trial() -> None:
        shared = Shared(5, 100)
        small = {key: at_once(b"s" * 20) for key in "abcdef"}
        for key in "abcdef":  # 120 bytes: the first goes
            await shared.get(key, small[key])
        giant = at_once(b"g" * 26)
        await shared.get("giant", giant)
        await shared.get("giant", giant)
        assert giant.asked == 2
        for key in "bcdef":
            await shared.get(key, small[key])
        assert [small[key].asked for key in "bcdef"] == [1] * 5
        await shared.get("a", small["a"])
        assert small["a"].asked == 2

    run(trial)
