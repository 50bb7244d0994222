"""Noise: what is hit, how often, and that a seed says all."""

import pydoc_data.topics

import numpy as np
import pytest

from latent_jax.analysis.boundaries.measure import noise_records
from latent_jax.analysis.boundaries.noise import (
    NEIGHBOURS,
    NOISES,
    flip_case,
    mistype,
    noised,
)

TEXT = "\n".join(pydoc_data.topics.topics.values()).encode()[:40_000]


def letters(text):
    return sum(chr(byte).isascii() and chr(byte).isalpha() for byte in text)


def test_keys_have_the_neighbours_of_a_keyboard():
    assert bytes(sorted(NEIGHBOURS[ord("a")])) == b"qswz"
    assert bytes(sorted(NEIGHBOURS[ord("g")])) == b"bfhtvy"
    for key, beside in NEIGHBOURS.items():
        assert key not in beside and all(key in NEIGHBOURS[other] for other in beside)
    assert len(NEIGHBOURS) == 26


def test_a_tenth_of_letters_changes_its_case_and_nothing_else():
    found = flip_case(TEXT, 0)
    assert found.lower() == TEXT.lower() and len(found) == len(TEXT)
    share = sum(a != b for a, b in zip(found, TEXT, strict=True)) / letters(TEXT)
    assert share == pytest.approx(0.10, abs=0.01)


def test_typos_replace_drop_and_double():
    found = np.frombuffer(mistype(60_000 * b"a", 0), np.uint8)
    replaced = found[found != ord("a")]
    assert set(replaced.tobytes()) == set(NEIGHBOURS[ord("a")])
    assert len(replaced) / 60_000 == pytest.approx(0.05 / 3, rel=0.1)
    assert abs(len(found) - 60_000) < 250, "as many are dropped as doubled"
    upper = mistype(60_000 * b"A", 0)
    assert set(upper) == {ord("A"), *(beside ^ 32 for beside in NEIGHBOURS[ord("a")])}
    doubled = mistype(b"ab" * 30_000, 0)
    n_more = doubled.count(b"aa") + doubled.count(b"bb")  # also where one between was dropped
    assert n_more / 60_000 == pytest.approx(2 * 0.05 / 3, rel=0.15)
    marks = "é 1,024 — 漢字\n".encode() * 100
    assert mistype(marks, 0) == flip_case(marks, 0) == marks


def test_a_seed_and_a_text_say_all():
    for noise in [*NOISES][1:]:
        one = noised([TEXT[:5000], TEXT[5000:9000]], noise, 3)
        assert one == noised([TEXT[:5000], TEXT[5000:9000]], noise, 3)
        assert one[1] == noised([TEXT[5000:9000]], noise, 3)[0]
        assert one != noised([TEXT[:5000], TEXT[5000:9000]], noise, 4)
        assert one[0] != TEXT[:5000]
    assert noised([b"abc", b""], "none", 0) == [b"abc"]


def test_bits_are_beside_what_noise_adds():
    metrics = {
        "none": {"bits_per_byte": 2.0, "n_bytes": 100, "bytes_per_chunk_1": 4.0},
        "typos, 5 %": {"bits_per_byte": 2.25, "n_bytes": 99, "bytes_per_chunk_1": 3.5},
    }
    plain, typos = noise_records(metrics, 7)
    assert plain["added_bits_per_byte"] == 0 and typos["added_bits_per_byte"] == 0.25
    assert typos["n_noised_bytes"] == 99 and typos["bytes_per_chunk_1"] == 3.5
    assert typos["seed"] == 7
