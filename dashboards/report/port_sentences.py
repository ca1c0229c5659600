"""What was found of ports, in words: each series from its own table, and what drove a sum."""

from dataclasses import replace

from dashboards.report.https_items import https_share
from dashboards.report.model import ALL, DYNAMIC, SERVICE_NAMES, Material, Number
from dashboards.report.ports import HTTPS, TABLES, TCP, UDP, Parts, comparable, share, share_change
from dashboards.report.text import Text, compared, told
from dashboards.report.weeks import key
from dashboards.report.words import as_printed, change, from_to, listed, moved, points


def ports(material: Material, service: str) -> Text:
    """TCP and UDP, port 443 of both and their sum, and what drove it; each from this service's own table."""
    text, week = Text(), material.week.get(service)
    if week is None or not week.ports:
        return text
    now, earlier = Parts(week), material.compare.get(service)
    then = Parts(earlier) if earlier and earlier.ports and comparable(week, earlier, material) else None
    name = "broadband (PPPoE)" if service == "fixed" else "mobile"
    tcp = share(now, TCP, ALL)
    udp = share(now, UDP, ALL)
    if tcp and udp:
        shares = f"TCP carried {text.percent(tcp, 1)} and UDP {text.percent(udp, 1)} of {name} volume"
        text.say(f"{shares}{_since(text, now, then, material)}")
    _https(text, now, then)
    dynamic = share(now, TCP, DYNAMIC)
    if dynamic and dynamic.value:
        top = [at for at in now.ports() if at[0] == TCP and at[1] >= 1_024][:1]
        first = share(now, *top[0]) if top else None
        largest = f"; the largest of them is {top[0][1]} with {text.percent(first, 1)}" if first and top else ""
        text.say(f"TCP on lower ports from 1024 on made up {text.percent(dynamic, 1)}{largest}")
    plain = share(now, TCP, 80)
    if plain:
        text.say(f"unencrypted HTTP on TCP 80 made up {text.percent(plain, 1)}")
    return text


def _since(text: Text, now: Parts, then: Parts | None, material: Material) -> str:
    if then is None:
        return ""
    words = []
    for name, proto in (("TCP", TCP), ("UDP", UDP)):
        one = share_change(now, then, proto, ALL)
        if one is None or one.value is None:
            return ""
        text.numbers.append(one)
        words.append(f"{name} {moved(one.value)}{f' by {points(one.value)}' if one.value else ''}")
    return f"; against {compared(material, now.week.service).removeprefix('in ')}, {listed(words)}"


def _https(text: Text, now: Parts, then: Parts | None) -> None:
    ends = {
        name: [share(one, proto, HTTPS) if one else None for one in (now, then)]
        for name, proto in (("TCP 443", TCP), ("UDP 443", UDP))
    }
    fresh = told(pair[0] for pair in ends.values())
    if len(fresh) < 2:
        return
    both = both_443(now)
    if then is None or any(len(told(pair)) < 2 for pair in ends.values()):
        parts = [f"{name} carried {text.percent(one, 1)}" for name, one in zip(ends, fresh, strict=True)]
        text.say(f"{listed(parts)}, together {text.percent(both, 1)}" if both else "")
        return
    moves, parts = {}, []
    for name, pair in ends.items():
        new, old = told(pair)
        text.numbers += [new, old]
        moves[name] = change(new.value or 0, old.value or 0, 1)
        parts.append(from_to(name, old.value or 0, new.value or 0))
    text.say(listed(parts))
    was = both_443(then)
    if both and was and both.value is not None and was.value is not None:
        text.numbers += [both, was]
        text.say(f"{from_to('their sum', was.value, both.value)}: {driver(moves)}")
    quic = [https_share(one.week, "q2", None) for one in (now, then)]
    if len(told(quic)) == 2 and quic[0] and quic[1]:
        text.numbers += told(quic)
        text.say(
            from_to(
                "of the volume on port 443, the part over UDP, an upper bound of QUIC,",
                quic[1].value or 0,
                quic[0].value or 0,
            )
        )


def driver(moves: dict[str, float]) -> str:
    """Which of two movements made the sum move."""
    up = [name for name, value in moves.items() if value > 0]
    down = [name for name, value in moves.items() if value < 0]
    if up and down:
        rise, fall = moves[up[0]], -moves[down[0]]
        if as_printed(rise - fall, 1) == 0:
            return f"the rise of {up[0]} and the fall of {down[0]} cancel out"
        winner = f"the rise of {up[0]}" if rise > fall else f"the fall of {down[0]}"
        loser = f"the fall of {down[0]}" if rise > fall else f"the rise of {up[0]}"
        return f"{winner} outweighs {loser}"
    if len(up) == 2 or len(down) == 2:
        return f"both of them {'rose' if up else 'fell'}"
    if up or down:
        return f"{(up or down)[0]} alone moved"
    return "neither of them moved"


def both_443(table: Parts) -> Number | None:
    """TCP 443 and UDP 443 together: the sum of the shares as they are printed."""
    one, other = (share(table, proto, HTTPS) for proto in (TCP, UDP))
    if one is None or other is None or one.value is None or other.value is None:
        return None
    total = as_printed(as_printed(one.value, 1) + as_printed(other.value, 1), 1)
    return replace(
        one,
        id=f"{TABLES[table.week.service]}/{key(table.week)}/443",
        value=total,
        definition="sum of the shares of TCP 443 and UDP 443 as they are printed",
        error=None,
    )


def by_version(material: Material) -> Text:
    """Port 443 over IPv6 and over IPv4."""
    text = Text()
    for service in material.services:
        week = material.week.get(service)
        if week is None:
            continue
        for row, name in (("tcp443", "TCP 443"), ("udp443", "UDP 443")):
            six, four = (https_share(week, row, version) for version in (6, 4))
            if six is None or four is None or six.value is None or four.value is None:
                continue
            difference = change(six.value, four.value, 1)
            word = "higher on IPv6 than on IPv4" if difference > 0 else "lower on IPv6 than on IPv4"
            shares = f"{text.percent(six, 1)} and {text.percent(four, 1)}"
            label = f"{SERVICE_NAMES[service]}: the share of {name} was"
            text.say(
                f"{label} the same on IPv6 and IPv4 ({shares})" if not difference else f"{label} {word} ({shares})"
            )
    return text
