"""How far the bits of codes are from random ones, beside as many random bits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from latent_jax.analysis.bit_entropy import kl_from_uniform, random_streams
from latent_jax.analysis.codes import Code
from latent_jax.experiments.analyze.opening import (
    encode_texts,
    open_codes,
    open_texts,
    read_texts,
)
from latent_jax.methods.names import parse
from latent_jax.reports.entropy_figures import write_uniformity_figure
from latent_jax.reports.tables import text_table, write_json
from latent_jax.tokenizers.bits import check_token_bits, from_tokens

COLUMNS = (
    "text",
    "method",
    "values",
    "n",
    "n_samples",
    "kl_bits",
    "corrected_kl_bits",
    "random_kl_bits",
    "random_standard_deviation_bits",
    "times_random",
)

N_GRAMS = range(1, 17)
N_TOKENS = (1, 2, 4, 8, 16)
"""The n of Lester et al. 2024, section 6.3: tokens of the divisors of 16, so that none crosses the
end of a window."""

PRINTED = (1, 2, 4, 8, 12, 16)

REPEATS = 5
"""Draws of random bits."""


def uniformity_records(
    code: Code, texts: Sequence[bytes], seed: int = 0, bar: tqdm | None = None
) -> list[dict[str, Any]]:
    """Return one record for the n-grams and one for the tokens of each number of bits n.

    Args:
        code: with 2^N ids, which are read as N bits each, first bit highest.
        texts: encoded each by itself; no value crosses two of them.
        seed: of the random bits.
        bar: counts what is counted.

    Raises:
        ValueError: the ids are no groups of bits, or the texts have too few bits.
    """
    token_bits = check_token_bits(code.n_ids)
    streams = [from_tokens(coded.ids, token_bits) for coded in encode_texts(code, texts)]
    lengths = [len(stream) for stream in streams]
    randoms = [random_streams(lengths, seed + repeat) for repeat in range(REPEATS)]
    records = []
    for values, tokens, ns in (("n-grams", False, N_GRAMS), ("tokens of n bits", True, N_TOKENS)):
        for n in ns:
            found = kl_from_uniform(streams, n, tokens)
            drawn = [kl_from_uniform(random, n, tokens).plug_in_nats for random in randoms]
            drawn = np.array(drawn) / np.log(2)
            records.append(
                {
                    "method": code.name,
                    "n_bytes": sum(map(len, texts)),
                    "values": values,
                    "n": n,
                    "n_samples": found.n_samples,
                    "n_values": found.n_values,
                    "kl_bits": float(found.plug_in_nats / np.log(2)),
                    "corrected_kl_bits": float(found.miller_madow_nats / np.log(2)),
                    "random_kl_bits": float(drawn.mean()),
                    "random_standard_deviation_bits": float(drawn.std(ddof=1)),
                    "times_random": float(found.plug_in_nats / np.log(2) / drawn.mean()),
                }
            )
            if bar is not None:
                bar.update()
    return records


def uniformity_and_print(
    methods: Sequence[str],
    workdirs: Sequence[str],
    *,
    files: Sequence[str] = (),
    texts: Sequence[str] = (),
    text_field: str = "text",
    train_bytes: int = 0,
    validation_bytes: int = 0,
    cut_bytes: int = 0,
    m1: str = "",
    json_path: str | None = None,
    out: str = "",
) -> list[dict[str, Any]]:
    """Measure the validation split of every text in every code and print a table.

    Args: as of `entropy_and_print`; `train_bytes` is what tokenizers that learn are trained on.

    Raises:
        ValueError: a name or a folder is wrong, a code has no 2^N ids, or a text cannot be read.
    """
    methods = [str(parse(name)) for name in methods]
    records = []
    for text, corpus in open_texts(files, texts, text_field).items():
        codes = open_codes(methods, workdirs, corpus=corpus, train_bytes=train_bytes, m1=m1)
        for code in codes:
            if code.n_ids & (code.n_ids - 1):
                raise ValueError(
                    f"{code.name} has {code.n_ids} ids, which are no groups of bits: leave it out"
                )
        validation = read_texts(corpus, "validation", validation_bytes, cut_bytes)
        total = len(codes) * (len(N_GRAMS) + len(N_TOKENS))
        with tqdm(total=total, desc=text, leave=False) as bar:
            for code in codes:
                bar.set_postfix_str(code.name)
                found = uniformity_records(code, validation, bar=bar)
                records += [{"text": text, **record} for record in found]
    print(text_table([record for record in records if record["n"] in PRINTED], COLUMNS))
    if json_path:
        write_json(records, json_path)
    if out:
        print(write_uniformity_figure(records, Path(out) / "uniformity.png"))
    return records
