"""The worked example of arithmetic coding, as `launch/compress.py explain --p` prints it.

The example X = 2/3, Y = 1/3 with all messages of two and three symbols is that of many lectures.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from latent_jax.tokenizers.intervals import (
    Alphabet,
    Interval,
    coder_codeword,
    codeword,
    number_of,
    shortest_fraction,
)

COLUMNS = (
    "message",
    "probability",
    "low",
    "high",
    "fraction",
    "codeword",
    "coder_codeword",
    "information_bits",
    "codeword_bits",
    "coder_bits",
)
SUMMARY_COLUMNS = (
    "length",
    "n_messages",
    "entropy_bits_per_symbol",
    "codeword_bits_per_symbol",
    "coder_bits_per_symbol",
)

MOST_ROWS = 64
"""Messages of a table."""
MOST_COUNTED = 1024
"""Messages of the greatest length whose mean bits are summed up."""
MOST_DIGITS = 11
"""Characters of a fraction that is written as one; others are decimal numbers."""
WIDTH = 64
"""Characters of the unit interval."""


def explain_messages(
    messages: Sequence[str],
    p: str,
    *,
    json_path: str | None = None,
    summary_path: str | None = None,
    picture: str | None = None,
) -> list[dict[str, Any]]:
    """Print how messages become bits, all messages of their lengths, and bits per symbol.

    Args:
        messages: at least one.
        p: the alphabet, such as "X=2/3,Y=1/3".
        json_path: file that also gets the records of all messages.
        summary_path: file that also gets mean bits per symbol by length.
        picture: PNG with the intervals of all messages of short lengths.

    Returns:
        The records of all messages.

    Raises:
        ValueError: the alphabet is none, or a message is not of it or too long.
    """
    from latent_jax.reports.tables import text_table, write_table

    alphabet = Alphabet.parse(p)
    for message in messages:
        alphabet.check(message)
    given = ", ".join(f"P({s}) = {value}" for s, value in alphabet.probabilities.items())
    print(f"{given}: {alphabet.entropy_bits:.3f} bits per symbol")
    for message in messages:
        print("\n" + drawing(alphabet, message))
    records = []
    for length in dict.fromkeys(map(len, messages)):
        own = [message for message in messages if len(message) == length]
        n_messages = len(alphabet.symbols) ** length
        if n_messages <= MOST_ROWS:
            own = list(alphabet.messages(length))
            print(f"\nAll messages of {length} symbols")
        else:
            print(f"\nOf the {n_messages:,} messages of {length} symbols, those given")
        rows = [record_of(alphabet, message) for message in own]
        print(text_table(rows, COLUMNS))
        records += rows
    summary = mean_bits(alphabet)
    print("\nMean bits per symbol, by the length of messages")
    print(text_table(summary, SUMMARY_COLUMNS))
    if json_path:
        write_table(records, json_path)
    if summary_path:
        write_table(summary, summary_path)
    if picture:
        from latent_jax.reports.interval_figure import write_intervals

        print(write_intervals(alphabet, summary, Path(picture)))
    return records


def record_of(alphabet: Alphabet, message: str) -> dict[str, Any]:
    """Return a flat record of a message: its interval, both codewords and their lengths."""
    interval = alphabet.interval(message)
    own, coded = codeword(alphabet, message), coder_codeword(alphabet, message)
    return {
        "message": message,
        "length": len(message),
        "probability": spelled(interval.size),
        "low": spelled(interval.low),
        "high": spelled(interval.high),
        "fraction": spelled(shortest_fraction(interval)),
        "codeword": f".{own}",
        "coder_codeword": f".{coded}",
        "information_bits": interval.bits,
        "codeword_bits": len(own),
        "coder_bits": len(coded),
    }


def mean_bits(alphabet: Alphabet) -> list[dict[str, Any]]:
    """Return a record for each length: the mean bits per symbol of both codes, and the entropy."""
    records, length = [], 1
    while (n_messages := len(alphabet.symbols) ** length) <= MOST_COUNTED:
        means = {"codeword": 0.0, "coder": 0.0}
        for message in alphabet.messages(length):
            share = float(alphabet.interval(message).size) / length
            means["codeword"] += share * len(codeword(alphabet, message))
            means["coder"] += share * len(coder_codeword(alphabet, message))
        records.append(
            {
                "length": length,
                "n_messages": n_messages,
                "entropy_bits_per_symbol": alphabet.entropy_bits,
                **{f"{code}_bits_per_symbol": mean for code, mean in means.items()},
            }
        )
        length += 1
    return records


def drawing(alphabet: Alphabet, message: str) -> str:
    """Return the nested intervals of a message's beginnings within [0, 1), and its codewords."""
    interval = alphabet.interval(message)
    own, coded = codeword(alphabet, message), coder_codeword(alphabet, message)
    point, n_bits = number_of(own), len(coded)
    inside = Interval(number_of(coded), number_of(coded) + Fraction(1, 1 << n_bits))
    rows = [
        (message[:n], bar(part), _bounds(part))
        for n in range(1, len(message) + 1)
        for part in [alphabet.interval(message[:n])]
    ]
    mark = bar(Interval(point, point)).replace("|", "*")
    rows.append(("codeword", mark, f"{spelled(point)} = .{own}"))
    rows.append(("coder's", bar(inside), f"{_bounds(inside)} = .{coded}..."))
    left = max(len(name) for name, _, _ in rows) + 2
    ruler = ["|" if at % (WIDTH // 4) == 0 else "-" for at in range(WIDTH + 1)]
    quarters = f"{'0':<{WIDTH // 4}}{'1/4':<{WIDTH // 4}}{'1/2':<{WIDTH // 4}}{'3/4':<15} 1"
    lines = [" " * left + quarters, " " * left + "".join(ruler)]
    lines += [f"{name:<{left}}{drawn:<{WIDTH + 1}}  {said}" for name, drawn, said in rows]
    return "\n".join(
        [
            f"{message}: probability {spelled(interval.size)}, {interval.bits:.3f} bits of "
            f"information, {len(own)} in the codeword, {len(coded)} from the coder",
            *lines,
        ]
    )


def bar(interval: Interval) -> str:
    """Return an interval as "[====)" on a line of `WIDTH` characters; "|" where it is too short."""
    start = math.floor(interval.low * WIDTH)
    stop = min(math.ceil(interval.high * WIDTH), WIDTH)
    drawn = "|" if stop - start < 2 else f"[{'=' * (stop - start - 2)})"
    return " " * min(start, WIDTH - 1) + drawn


def spelled(number: Fraction) -> str:
    """Return a fraction, or a decimal number of twelve digits where that is shorter."""
    return str(number) if len(str(number)) <= MOST_DIGITS else f"{float(number):.12g}"


def _bounds(interval: Interval) -> str:
    return f"[{spelled(interval.low)}, {spelled(interval.high)})"
