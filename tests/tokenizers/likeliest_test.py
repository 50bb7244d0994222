"""The likeliest texts against a search one text at a time, and what their code is worth."""

import functools
import heapq

import numpy as np
import pytest

from latent_jax.tokenizers import CompiledCode, EqualInfoAC
from latent_jax.tokenizers.byte_model import BEGIN
from latent_jax.tokenizers.counts import cumulative_counts
from latent_jax.tokenizers.likeliest import _next_byte_bits, likeliest_texts
from tests.tokenizers.bit_tokenizers_test import TOPICS
from tests.tokenizers.byte_models import byte_model

PRECISION = 14


@pytest.fixture(scope="module")
def found():
    return likeliest_texts(byte_model(lanes=64), 2048, PRECISION, batch=100)


def counts_after(model, text):
    """Read one text in the last lane; the others read something else."""
    state, cumulative_C = model.start(), np.zeros(257, np.int64)
    for position, byte in enumerate([BEGIN, *text]):
        ids_B = np.full(model.lanes, 65 if position else BEGIN, np.int32)
        ids_B[-1] = byte
        probabilities_BV, state = model.step(state, ids_B, np.full(model.lanes, position, np.int32))
    cumulative_counts(probabilities_BV[-1, :256], PRECISION, cumulative_C)
    return np.diff(cumulative_C)


def test_they_are_those_of_a_search_one_by_one(found):
    """Best first, exact fractions as whole numbers, no batches, no bound."""
    model, expected, waiting = byte_model(lanes=64), {}, []
    n_texts = 400
    counts = functools.cache(lambda text: counts_after(model, text))

    def read(text, weight):
        for byte, count in enumerate(counts(text).tolist()):
            child = text + bytes([byte])
            # -weight / 2^(precision len): compared as floats, which differ by more than rounding.
            heapq.heappush(waiting, (-(weight * count) / 2 ** (PRECISION * len(child)), child))

    def exact(text):
        weight = 1
        for i in range(len(text)):
            weight *= int(counts(text[:i])[text[i]])
        return weight

    read(b"", 1)
    singles = {text: -value for value, text in waiting}
    while len(expected) < n_texts - 256:
        value, text = heapq.heappop(waiting)
        if len(text) > 1:
            expected[text] = -value
        read(text, exact(text))
    some = likeliest_texts(model, n_texts, PRECISION)
    assert some.keys() == singles.keys() | expected.keys()
    for text, log in some.items():
        assert log == pytest.approx(np.log2(singles.get(text) or expected[text]), abs=1e-9)
    assert some.keys() <= found.keys()


def test_the_result_does_not_depend_on_the_batch(found):
    assert likeliest_texts(byte_model(lanes=64), 2048, PRECISION, batch=5000) == found


def test_they_are_a_tree_with_every_byte(found):
    assert len(found) == 2048
    for text, log in found.items():
        if len(text) > 1:
            assert found[text[:-1]] > log
    assert {bytes([byte]) for byte in range(256)} <= found.keys()
    only_bytes = likeliest_texts(byte_model(lanes=64), 256, PRECISION)
    assert len(only_bytes) == 256 and only_bytes.items() <= found.items()


def test_a_window_takes_bytes_while_its_text_is_likely_enough(found):
    """The code, walked without M1, is the window that M1 would close step by step."""
    code, model = CompiledCode.of_texts("likeliest", found), byte_model(lanes=64)
    least = min(log for text, log in found.items() if len(text) > 1)
    text = TOPICS[7][:60] + b"\xff\x00" + TOPICS[9][:20]
    windows, at = [], 0
    while at < len(text):
        size, bits = 0, 0.0
        while at + size < len(text):
            count = counts_after(model, text[at : at + size])[text[at + size]]
            bits += np.log2(count) - PRECISION
            if size and bits < least - 1e-9:
                break
            size += 1
        windows.append(text[at : at + size])
        at += size
    assert [code.pieces[i] for i in code.encode(text)] == windows
    assert max(map(len, windows)) > 2


def test_a_window_carries_more_bytes_than_integer_cells_of_the_same_model(found):
    """The mean, over texts that the model itself writes, is the sum of the probabilities."""
    model = byte_model(lanes=64)
    cells = CompiledCode.compile(EqualInfoAC(model, 11, 2048, rule="exact")).pieces[:-1]
    inner = sorted({text[:-1] for text in cells})
    after = dict(zip(inner, _next_byte_bits(model, inner, PRECISION), strict=True))
    logs = {b"": 0.0}
    for text in cells:  # a text comes after its beginning
        logs[text] = logs[text[:-1]] + after[text[:-1]][text[-1]]
    del logs[b""]
    shared = found.keys() & logs.keys()
    assert 500 < len(shared) < 2000
    np.testing.assert_allclose([found[t] for t in shared], [logs[t] for t in shared], atol=1e-9)
    means = [float(np.exp2(list(code.values())).sum()) for code in (found, logs)]
    assert means[0] > 1.02 * means[1]
