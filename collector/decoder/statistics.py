"""What the exporting process says that it has sent, beside what came."""

from collector.decoder.domains import Domain, Told
from collector.decoder.options import TOLD_MESSAGES, TOLD_OCTETS, TOLD_RECORDS, Option


def account(domain: Domain, option: Option) -> None:
    """Count how much IE 40-42 grew, and messages of which we know only so.

    The three are totals of the whole exporter since its exporting process started (RFC 7011's registry: 40 octets, 41
    messages, 42 flow records), so the first record is the base of all that follow.
    """
    numbers = option.numbers
    octets, messages, records = (numbers.get((each, 0), 0) for each in (TOLD_OCTETS, TOLD_MESSAGES, TOLD_RECORDS))
    if not octets and not messages and not records:
        return
    exporter, came = domain.exporter, domain.exporter.messages()
    told = exporter.told
    if told is None or messages < told.messages or octets < told.octets or records < told.records:
        exporter.told = Told(octets, messages, records, messages, came)
        return
    for counter, grown in (
        ("told_octets", octets - told.octets),
        ("told_messages", messages - told.messages),
        ("told_records", records - told.records),
    ):
        if grown:
            domain.tally(counter, min(grown, 2**53))  # a hostile total must not overflow a sum
    told.octets, told.messages, told.records = octets, messages, records
    missed = min(messages - told.first_messages - (came - told.came), 2**53)
    if missed > told.missed:
        domain.tally("told_messages_missed", missed - told.missed)
        told.missed = missed
