import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers.bits import check_token_bits, from_tokens, to_tokens


@given(st.lists(st.integers(0, 1), max_size=200), st.integers(1, 16))
def test_bits_come_back_filled_up_with_zeros(bits, token_bits):
    ids = to_tokens(bits, token_bits)
    assert ids.dtype == np.int32 and len(ids) == -(-len(bits) // token_bits)
    assert all(0 <= id_ < 2**token_bits for id_ in ids)
    back = from_tokens(ids, token_bits)
    assert back.tolist() == bits + [0] * (len(back) - len(bits))


def test_the_first_bit_is_the_highest():
    assert to_tokens([1, 0, 0, 0, 0, 0, 0, 1, 1], 8).tolist() == [129, 128]


@pytest.mark.parametrize(("vocab", "token_bits"), [(2, 1), (256, 8), (65536, 16)])
def test_vocabularies_of_whole_bits(vocab, token_bits):
    assert check_token_bits(vocab) == token_bits


@pytest.mark.parametrize("vocab", [0, 1, 3, 65535, 131072])
def test_other_vocabularies_are_refused(vocab):
    with pytest.raises(ValueError, match=rf"v={vocab}: .* power of 2"):
        check_token_bits(vocab)
