"""Loss, repeats and reordering of a stream are counted exactly; a new beginning is not billions of missed."""

from hypothesis import given
from hypothesis import strategies as st

from collector.decoder.sequence import RECORDS_A_SECOND, WINDOW, Sequence

Message = tuple[int, int, int]
"""number, units, export time"""
NOW_MS = 1_700_000_000_000


def sequence() -> Sequence:
    return Sequence(has_uptime=False, a_second=RECORDS_A_SECOND)


def follow(one: Sequence, messages: list[Message]) -> dict[str, int]:
    for number, units, export_s in messages:
        one.follow(number, units, export_s, 0, NOW_MS)
    one.close()
    return dict(one.take())


def reference(sent: list[Message], arrived: list[Message]) -> dict[str, int]:
    """By remembering every single unit: of a whole range of numbers, as unwrapped as the sender counted them."""
    place = {message: index for index, message in enumerate(sent)}
    units = [message[1] for message in sent]
    seen: set[int] = set()
    highest = late = repeated = 0
    first, last = place[arrived[0]], 0
    for message in arrived:
        index = place[message]
        if index in seen:
            repeated += 1
        elif seen and index < highest:
            late += 1
        seen.add(index)
        highest, last = max(highest, index), max(last, index)
    missed = sum(units[index] for index in range(first, last) if index not in seen)
    found = {"sequence_missed": missed, "sequence_out_of_order": late, "sequence_duplicate": repeated}
    return {name: value for name, value in found.items() if value}


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Message], list[Message]]:
    """What was sent, and what of it arrived: with loss, repeats, and swaps within the window."""
    number = draw(st.integers(1, 2**32 - 1))
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=80))
    sent = []
    for at, units in enumerate(sizes):
        sent.append((number, units, 1_700_000_000 + at // 7))
        number = (number + units) % 2**32
    fates = draw(st.lists(st.sampled_from("aaaaaaxdl"), min_size=len(sent), max_size=len(sent)))
    order: list[tuple[float, Message]] = []
    for at, (message, fate) in enumerate(zip(sent, fates, strict=True)):
        if at == 0 or fate != "x":
            late = draw(st.floats(0.5, WINDOW / 4)) if at and fate == "l" else 0.0
            order.append((at + late, message))
            if at and fate == "d":
                order.append((at + draw(st.floats(0.5, WINDOW / 4)), message))
    return sent, [message for _, message in sorted(order, key=lambda entry: entry[0])]


@given(streams())
def test_counts_are_those_of_a_slow_reference(stream: tuple[list[Message], list[Message]]) -> None:
    sent, arrived = stream
    assert follow(sequence(), arrived) == reference(sent, arrived)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(st.integers(1, 40), min_size=5, max_size=20))
def test_a_new_beginning_costs_no_more_than_it_could(old: int, new: int, sizes: list[int]) -> None:
    one = sequence()
    for number in (old, new):
        for units in sizes:
            one.follow(number, units, 1_700_000_000, 0, NOW_MS)
            number = (number + units) % 2**32
    one.close()
    assert one.missed <= RECORDS_A_SECOND
    assert one.reset <= 1


@given(streams())
def test_a_restart_between_two_messages_is_not_seen(stream: tuple[list[Message], list[Message]]) -> None:
    """Save and restore wherever no gap is open: the counts are the same."""
    _, arrived = stream
    whole, parts = sequence(), sequence()
    totals: dict[str, int] = {}
    for number, units, export_s in arrived:
        for each in (whole, parts):
            each.follow(number, units, export_s, 0, NOW_MS)
        if not parts.gaps:
            for name, value in parts.take():
                totals[name] = totals.get(name, 0) + value
            saved = parts.saved()
            parts = sequence()
            parts.restore(*saved)
    for each in (whole, parts):
        each.close()
    for name, value in parts.take():
        totals[name] = totals.get(name, 0) + value
    assert totals == dict(whole.take())


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(-1, 2**16), st.integers(0, 2**32 - 1)), max_size=300))
def test_any_numbers_are_followed_in_bounded_memory(messages: list[Message]) -> None:
    one = sequence()
    for number, units, export_s in messages:
        one.follow(number, units, export_s, 0, NOW_MS)
        assert len(one.gaps) <= 2 * WINDOW
    assert min(one.missed, one.out_of_order, one.duplicate, one.reset) >= 0
    assert one.duplicate + one.out_of_order + one.reset <= 2 * len(messages)
