"""Entropies of real text in codes: records, and the table of 4-grams."""

import pydoc_data.topics

import numpy as np
import pytest

from latent_jax.analysis.codes import TokenizerCode
from latent_jax.analysis.entropy import (
    FIFTY_2025,
    EntropyOptions,
    count_characters,
    measure,
    summarize,
)
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import Bytes

TEXTS = [topic.encode() for _, topic in sorted(pydoc_data.topics.topics.items())]
TRAIN, VALIDATION = TEXTS[8:48], TEXTS[:8]


def measured(code, n):
    return measure(EntropyOptions(n=n), code, TRAIN, VALIDATION)["entropy"]


def test_bytes_cost_less_with_every_n_and_units_agree():
    records = measured(TokenizerCode(Bytes()), 4)
    assert [record["n"] for record in records] == [1, 2, 3, 4]
    held_out = [record["held_out_bits_per_byte"] for record in records]
    assert (np.diff(held_out) < 0).all()
    for record in records:
        assert record["n_bytes"] == record["n_tokens"] == sum(map(len, VALIDATION))
        assert record["held_out_bits_per_token"] == pytest.approx(record["held_out_bits_per_byte"])
        assert record["plug_in_bits_per_token"] == pytest.approx(record["plug_in_bits_per_byte"])
        assert record["plug_in_bits_per_byte"] <= record["miller_madow_bits_per_byte"]
        assert record["held_out_bits_per_character"] == pytest.approx(
            record["held_out_bits_per_byte"] * record["bytes_per_character"]
        )


def test_a_unigram_of_bytes_is_the_entropy_of_their_frequencies():
    record = measured(TokenizerCode(Bytes()), 1)[0]
    counts = np.bincount(np.frombuffer(b"".join(TRAIN), np.uint8))
    p = counts[counts > 0] / counts.sum()
    assert record["plug_in_bits_per_byte"] == pytest.approx(-(p * np.log2(p)).sum())
    assert record["n_samples"] == counts.sum()
    assert record["uniform_bits_per_byte"] == 8.0


def test_codes_of_other_widths_are_compared_per_byte():
    text = measured(TokenizerCode(Bytes()), 2)[-1]
    code = TokenizerCode(make_tokenizer(parse("EqualInfoAC[b=16,v=65k]"), None))
    windows = measured(code, 2)[-1]
    assert windows["bytes_per_token"] > 3
    assert windows["held_out_bits_per_token"] == pytest.approx(
        windows["held_out_bits_per_byte"] * windows["bytes_per_token"]
    )
    # Two windows see about ten bytes, two bytes see two.
    assert windows["held_out_bits_per_byte"] < text["held_out_bits_per_byte"]


def test_characters_are_code_points():
    assert count_characters(["déjà vu €".encode(), b"", b"ab"]) == 9 + 2


def test_the_summary_has_n_4_the_best_n_and_the_blogs_numbers_below():
    def record(n, bits, **more):
        return {"text": "a", "method": "M", "model": f"{n}-gram", "n": n} | {
            "held_out_bits_per_byte": bits,
            **more,
        }

    model = {"text": "a", "method": "M", "model": "language model", "held_out_bits_per_byte": 1.5}
    records = [record(3, 2.0), record(4, 2.2, bytes_per_token=3.0), record(5, 2.3), model]
    summary, *blog = summarize(records)
    assert summary["held_out_bits_per_byte"] == 2.2
    assert (summary["best_n"], summary["best_bits_per_byte"]) == (3, 2.0)
    assert summary["language_model_bits_per_byte"] == 1.5
    assert [row["paper_bits_per_character"] for row in blog] == [1.8, 3.0]
    assert blog == list(FIFTY_2025)


def test_a_summary_needs_4_grams():
    with pytest.raises(ValueError, match="set --n to 4"):
        EntropyOptions(n=3, summary="s.json")
