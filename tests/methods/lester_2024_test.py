"""The paper's numbers as they were copied agree with each other and with what they rest on."""

import math

import pytest

from configs.methods import SIXTEEN, by_rule, stated
from latent_jax.methods.lester_2024 import (
    DATASETS,
    NOMINAL_TOKENS,
    TRIVIAL,
    expected_short_share,
    published,
)
from latent_jax.methods.names import parse


def test_the_sixteen_methods_are_those_of_the_table():
    assert {published(parse(method)) for method in SIXTEEN} == set(DATASETS)
    assert set(TRIVIAL) < set(DATASETS) and len(TRIVIAL) == 9
    assert not any("65536" in method for method in TRIVIAL)


@pytest.mark.parametrize("method", DATASETS)
def test_bytes_are_tokens_times_the_printed_ratio(method):
    row = DATASETS[method]
    if method.startswith("SentencePiece"):
        assert row.bytes / row.tokens == pytest.approx(4.2788, abs=5e-5)
        assert round(row.bytes / row.tokens, 2) == row.bytes_per_token
    elif method == "GZip[v=256]":  # printed so: the product with StaticAC's number of tokens
        assert row.bytes == round(DATASETS["StaticAC[v=256]"].tokens * row.bytes_per_token)
        assert row.bytes == pytest.approx(row.tokens * row.bytes_per_token, rel=1e-5)
    else:
        assert abs(row.tokens * row.bytes_per_token - row.bytes) < 1


@pytest.mark.parametrize("method", DATASETS)
def test_the_short_last_pieces_are_as_many_as_their_lengths_make_likely(method):
    row = DATASETS[method]
    short = 1 - row.tokens / NOMINAL_TOKENS
    assert 0 < short < 0.011
    assert expected_short_share(row.bytes_per_token) == pytest.approx(short, abs=0.0025)


def test_a_row_that_no_example_fills_is_half_empty_in_the_last_piece_and_short_in_all():
    """With one byte per token hardly a last piece is too short; with 20 all of them are."""
    assert expected_short_share(1.0) == pytest.approx(512 / 2 * 512 / 10_240 / (27.625 * 512))
    assert expected_short_share(20.0) == pytest.approx(0.5 / 27.625)


@pytest.mark.parametrize("method", TRIVIAL)
def test_the_uniform_model_is_log2_of_the_ids_without_a_separator(method):
    n_ids = {"Bytes": 256, "SentencePiece[v=32000]": 32_000}.get(method, 256)
    bits = math.log2(n_ids) / DATASETS[method].bytes_per_token
    assert bits == pytest.approx(TRIVIAL[method].uniform, abs=0.008)  # ratios have two digits


def test_any_rule_stands_beside_the_papers_and_another_method_does_not():
    assert published(parse("EqualInfoAC[b=16,v=65k,rule=paper]")) == "EqualInfoAC[b=16,v=65536]"
    assert published(parse("EqualInfoAC[b=16,v=65k]")) == "EqualInfoAC[b=16,v=65536]"
    for other in ("EqualInfoAC[b=24,v=256]", "GZip[v=256,header=no]", "BPE[v=4096]"):
        assert published(parse(other)) == ""
    assert published(parse("EqualInfoAC[b=16,v=256,reset=never]")) == ""


def test_by_rule_states_the_rule_of_windows_and_of_nothing_else():
    names = by_rule(SIXTEEN, "paper")
    assert len(names) == 16 and by_rule(SIXTEEN, "usual") == SIXTEEN
    changed = [new for old, new in zip(SIXTEEN, names, strict=True) if old != new]
    assert len(changed) == 8
    assert all(name.startswith("EqualInfoAC[") and "rule=paper" in name for name in changed)
    with pytest.raises(ValueError, match=r"unknown rule 'papr' \(did you mean 'paper'\?\)"):
        by_rule(SIXTEEN, "papr")
    assert stated(names, "tokens")[names[0]] == {"tokens": 26_188_185_600}
