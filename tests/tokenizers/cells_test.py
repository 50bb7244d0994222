import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers import cells, limbs
from latent_jax.tokenizers.counts import cumulative_counts


def counts_of(seed, precision, concentration):
    p = np.random.default_rng(seed).dirichlet(np.full(256, concentration)).astype(np.float32)
    cumulative = np.zeros(257, np.int64)
    cumulative_counts(p, precision, cumulative)
    return cumulative


def split(number, n=5):
    return np.array([(number >> (32 * i)) & 0xFFFFFFFF for i in range(n)], np.int64)


def join(row):
    return sum(int(limb) << (32 * i) for i, limb in enumerate(row))


def hamilton(counts, n_codes, least):
    """Whole parts of the proportional shares; the largest remainders get one more, in turn."""
    products = counts * (n_codes - least * len(counts))
    seats = least + products // counts.sum()
    remainders = products % counts.sum()
    for v in np.argsort(-remainders, kind="stable")[: n_codes - seats.sum()]:
        seats[v] += 1
    return seats


@given(
    st.integers(0, 1000),
    st.sampled_from([9, 14, 16]),
    st.sampled_from([0.01, 0.2, 5.0]),
    st.floats(0, 1),
    st.integers(0, 1),
)
def test_shares_are_proportional_and_the_largest_remainders_get_one_more(
    seed, precision, concentration, fraction, least
):
    cumulative = counts_of(seed, precision, concentration)
    n_codes = max(int(fraction * (2**precision - 1)), 256 * least)
    found = np.zeros(256, np.int64)
    cells.shares(cumulative, n_codes, precision, least, found)
    assert found.sum() == n_codes and found.min() >= least
    np.testing.assert_array_equal(found, hamilton(np.diff(cumulative), n_codes, least))


@given(
    st.integers(0, 1000),
    st.sampled_from([9, 14, 16]),
    st.integers(0, 128),
    st.booleans(),
    st.data(),
)
def test_children_own_every_shared_code_exactly_once(seed, precision, power, at_root, data):
    cumulative = counts_of(seed, precision, 0.1)
    free = 2**power + data.draw(st.integers(0, 2**power - 1)) * (power < 128)
    if at_root:
        free = max(free, 256)
    shares, start, codes, scratch = np.zeros(256, np.int64), split(0), split(0), split(0)
    at = 0
    for symbol in range(256):
        cells.child(split(free), cumulative, precision, at_root, symbol, start, codes, shares)
        assert join(start) == at
        at += join(codes)
        assert join(codes) >= at_root
        for code in {join(start), at - 1} if join(codes) else ():
            found = cells.find_child(
                split(free), cumulative, precision, at_root, split(code), scratch, shares
            )
            assert found == symbol
    assert at == free


@pytest.mark.parametrize("n_codes", [1, 2, 5])
def test_few_codes_go_to_the_likeliest(n_codes):
    cumulative = counts_of(3, 14, 0.05)
    found = np.zeros(256, np.int64)
    cells.shares(cumulative, n_codes, 14, 0, found)
    assert found[np.argmax(np.diff(cumulative))] >= 1
    assert limbs.bit_length(split(int(found.sum()))) == n_codes.bit_length()
