"""The next free port where the wanted one is busy."""

import errno

import pytest

from sinks.listening import PORTS_TRIED, AllBusy, next_free


def test_busy_ports_are_passed_over_and_other_errors_are_not() -> None:
    tried: list[int] = []

    def bind(port: int) -> str:
        tried.append(port)
        if port < 2057:
            raise OSError(errno.EADDRINUSE, "busy")
        return f"bound {port}"

    assert next_free(2055, bind) == "bound 2057"
    assert tried == [2055, 2056, 2057]

    def not_ours(port: int) -> str:
        raise OSError(errno.EADDRNOTAVAIL, "not ours")

    with pytest.raises(OSError, match="not ours") as refused:
        next_free(2055, not_ours)
    assert not isinstance(refused.value, AllBusy)


@pytest.mark.parametrize(("wanted", "tries"), [(2055, PORTS_TRIED), (65_530, 6)])
def test_a_hundred_are_tried_and_none_beyond_the_last(wanted: int, tries: int) -> None:
    tried: list[int] = []

    def bind(port: int) -> None:
        tried.append(port)
        raise OSError(errno.EADDRINUSE, "busy")

    with pytest.raises(AllBusy):
        next_free(wanted, bind)
    assert tried == list(range(wanted, wanted + tries))
