"""A text with its code bits, as `launch/compress.py explain` shows it: windows in colour.

Lester et al. 2024, figures 1 and 2: equal-information windows cut a text where its bits are full.
Here every window stands above its bits and ids, and its bytes have what M1 says they tell.
"""

import itertools
import math
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.codec.token_lines import Token, cut_lines, token_lines
from latent_jax.reports.terminal import takes_colour
from latent_jax.spelling import printable
from latent_jax.tokenizers import AC, EqualInfoAC, Tokenizer
from latent_jax.tokenizers.byte_model import BEGIN, IDLE, N_SYMBOLS, ByteModel, checked_step
from latent_jax.tokenizers.compiled import CompiledCode
from latent_jax.tokenizers.counts import cumulative_counts

METHOD = "EqualInfoAC[b=16,v=256]"
"""The method of a text for which none is named."""

PRECISION = 14
"""Bits of the counts by which M1's probabilities are told, as in Lester et al. 2024."""

MOST_BYTES = 2000
"""Bytes of a text that is shown."""


def explain_text(
    texts: Sequence[str],
    make: Callable[[], Tokenizer],
    *,
    json_path: str | None = None,
    picture: str | None = None,
) -> list[dict[str, Any]]:
    """Print a text cut into windows, each above its code bits and its ids.

    Args:
        texts: one text, as the command line has it.
        make: returns the tokenizer, whose ids are groups of bits; called when the text has proved
            good, because it may take long.
        json_path: file that also gets a record of each token.
        picture: PNG that shows the same.

    Returns:
        The records of the tokens.

    Raises:
        ValueError: there is not one text, or it is empty or too long, or ids are no groups of bits.
    """
    text = checked(texts)
    tokenizer = make()
    tokens = tokens_of(tokenizer, text)
    windows = grouped(tokens)
    n_bits = sum(len(token.bits) for token in tokens)
    head = f"{tokenizer.name}: {len(text):,} bytes, "
    if has_windows(tokenizer):
        head += f"{len(windows)} windows of {sum(len(t.bits) for t in windows[0])} bits, "
    head += f"{len(tokens)} tokens, {n_bits:,} bits, {n_bits / len(text):.2f} bits per byte"
    is_coloured = takes_colour(sys.stdout)
    width = shutil.get_terminal_size((100, 24)).columns
    print(head + "\n")
    print(cut_lines(windows, width, is_coloured) + "\n")
    print(token_lines(windows, width, is_coloured))
    bits_of_bytes = information_of(tokenizer, windows)
    if bits_of_bytes:
        print("\n" + by_place(bits_of_bytes))
    records = [
        {
            "method": tokenizer.name,
            "window": token.window + 1,
            "text": printable(token.text),
            "n_bytes": len(token.text),
            "id": token.id,
            "bits": token.bits,
        }
        for token in tokens
    ]
    if json_path:
        from latent_jax.reports.tables import write_table

        write_table(records, json_path)
    if picture:
        from latent_jax.reports.window_figure import write_windows

        cells = [[(t.text, t.bits) for t in window] for window in windows]
        print(write_windows(head, cells, bits_of_bytes, Path(picture)))
    return records


def checked(texts: Sequence[str]) -> bytes:
    """Return the one text of a command line as bytes.

    Raises:
        ValueError: there are more, or it is empty or too long.
    """
    if len(texts) != 1:
        raise ValueError(f"one text at a time, in quotes; got {len(texts)}")
    text = texts[0].encode("utf-8", "surrogateescape")
    if not 1 <= len(text) <= MOST_BYTES:
        raise ValueError(
            f"a text of {len(text):,} bytes: explain shows 1 to {MOST_BYTES:,}; give a sentence"
        )
    return text


def has_windows(tokenizer: Tokenizer) -> bool:
    """Return whether its bits are cut into windows that begin anew."""
    return isinstance(tokenizer, EqualInfoAC | CompiledCode)


def tokens_of(tokenizer: Tokenizer, text: bytes) -> list[Token]:
    """Return the tokens of a text with their bits.

    Raises:
        ValueError: the ids of the tokenizer are no groups of bits.
    """
    n_ids = tokenizer.vocab_size - 1  # without the separator
    n_bits = n_ids.bit_length() - 1
    if n_ids != 1 << n_bits or tokenizer.separator_id != n_ids:
        raise ValueError(
            f"{tokenizer.name} has {n_ids:,} ids, which are no groups of bits: name a method like "
            "EqualInfoAC[b=16,v=256], AC[v=256] or GZip[v=256]"
        )
    per_window = 1
    if isinstance(tokenizer, EqualInfoAC):
        per_window = math.lcm(tokenizer.window_bits, n_bits) // n_bits
    ((ids, lengths),) = tokenizer.encode_batch([text])
    stops = np.cumsum(lengths).tolist()
    spans = zip(ids.tolist(), [0, *stops[:-1]], stops, strict=True)
    return [
        Token(place // per_window, text[start:stop], id_, format(id_, f"0{n_bits}b"))
        for place, (id_, start, stop) in enumerate(spans)
    ]


def grouped(tokens: Sequence[Token]) -> list[list[Token]]:
    """Return the tokens of each window."""
    return [[*own] for _, own in itertools.groupby(tokens, lambda token: token.window)]


def information_of(
    tokenizer: Tokenizer, windows: Sequence[Sequence[Token]]
) -> list[list[float]] | None:
    """Return what M1 says each byte of each window tells, in bits; None without an M1."""
    if isinstance(tokenizer, EqualInfoAC):
        every, n_symbols = tokenizer.reset_every or len(windows), BEGIN
    elif isinstance(tokenizer, AC):
        every, n_symbols = len(windows), N_SYMBOLS
    else:
        return None
    pieces = [b"".join(token.text for token in window) for window in windows]
    chains = [b"".join(pieces[at : at + every]) for at in range(0, len(pieces), every)]
    bits = itertools.chain.from_iterable(information(tokenizer.model, chains, n_symbols))
    return [list(itertools.islice(bits, len(piece))) for piece in pieces]


def information(model: ByteModel, texts: Sequence[bytes], n_symbols: int) -> list[list[float]]:
    """Return what a coder pays for every byte of texts, in bits, each from an empty context.

    Args:
        model: M1.
        texts: any.
        n_symbols: 256, or 257 where the end of the text may come too.
    """
    found: list[list[float]] = [[] for _ in texts]
    counts_C = np.zeros(n_symbols + 1, np.int64)
    for first in range(0, len(texts), model.lanes):
        group = range(first, min(first + model.lanes, len(texts)))
        state = model.start()
        for at in range(max(len(texts[i]) for i in group)):
            ids_B = np.full(model.lanes, IDLE, np.int32)
            for lane, i in enumerate(group):
                if at < len(texts[i]):
                    ids_B[lane] = texts[i][at - 1] if at else BEGIN
            # The first step begins every lane, as `ByteModel.start` asks.
            ids_B = np.where(at == 0, BEGIN, ids_B).astype(np.int32)
            table_BV, state = checked_step(model, state, ids_B, np.full_like(ids_B, at))
            for lane, i in enumerate(group):
                if at < len(texts[i]):
                    cumulative_counts(table_BV[lane, :n_symbols], PRECISION, counts_C)
                    start, stop = counts_C[texts[i][at] :][:2]
                    found[i].append(PRECISION - math.log2(stop - start))
    return found


def by_place(bits_of_bytes: Sequence[Sequence[float]]) -> str:
    """Return a line on what the first bytes of windows cost, and the others."""
    first = [bits[0] for bits in bits_of_bytes if bits]
    rest = [value for bits in bits_of_bytes for value in bits[1:]]
    line = f"By M1 the first byte of a window tells {np.mean(first):.2f} bits"
    return line + (f", each further one {np.mean(rest):.2f}." if rest else ".")
