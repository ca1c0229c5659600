"""Sentences, and the numbers that they mention."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dashboards.report.model import IN, OUT, Material, Number
from dashboards.report.words import NBSP, day_name, percent, printed, sentence

NOUNS = {IN: "uploads", OUT: "downloads"}


@dataclass(slots=True)
class Text:
    """Sentences, and the numbers that they mention."""

    spoken: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # sentence, ids of its numbers
    numbers: list[Number] = field(default_factory=list)
    _said: int = 0  # numbers of the sentences before

    def say(self, text: str) -> None:
        """Add a sentence; it mentions the numbers that were asked for since the one before."""
        if text:
            ids = tuple(dict.fromkeys(number.id for number in self.numbers[self._said :]))
            self.spoken.append((sentence(text), ids))
            self._said = len(self.numbers)

    def value(self, number: Number, decimals: int) -> str:
        """A number as it is printed, remembered as one that is mentioned."""
        self.numbers.append(number)
        return printed(number.value or 0.0, decimals)

    def percent(self, number: Number, decimals: int = 0) -> str:
        """The same with its sign."""
        return f"{self.value(number, decimals)}{NBSP}%"

    def size(self, number: Number, decimals: int = 0) -> str:
        """A change in percent without its sign, which the verb tells."""
        self.numbers.append(number)
        return percent(abs(number.value or 0.0), decimals)

    @property
    def paragraph(self) -> str:
        """All of it."""
        return " ".join(words for words, _ in self.spoken)


def told(numbers: Iterable[Number | None]) -> list[Number]:
    """Those that have a value."""
    return [number for number in numbers if number is not None and number.value is not None]


def compared(material: Material, service: str) -> str:
    """How the compared week is called: a year before where it is one, else by its first day."""
    now, then = material.week.get(service), material.compare.get(service)
    if now is None or then is None:
        return ""
    weeks = (now.week.monday - then.week.monday).days // 7
    return "a year before" if weeks in (52, 53) else f"in the week of {day_name(then.week.monday)}"
