"""The file of an integer model: the same bytes, and no number that would leave its bounds."""

import numpy as np
import pytest

from latent_jax.exact import model_file
from latent_jax.exact.model_file import IntegerFileError
from latent_jax.tokenizers.byte_model import load_byte_model
from tests.exact.models import content, integer_model


def changed(name, place, value):
    model = integer_model()
    arrays = {key: array.copy() for key, array in model.arrays.items()}
    arrays[name][place] = value
    return model.config, arrays


def test_saved_and_loaded_it_is_the_same():
    model = load_byte_model("integer", content())
    assert model.to_bytes() == content() != content(seed=1)
    assert content(context=32) != content()
    assert {array.dtype for array in model.arrays.values()} == {np.dtype("i1"), np.dtype("i4")}


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("embedding", (3, 4), -128, "embedding: weights up to 128; at most 127"),
        ("final_gain", 0, 1 << 16, "final_gain: 65536 is over 65535"),
        ("blocks/position_bias", (0, 0, 0), 1 << 29, "position_bias: 536870912 is over"),
        ("blocks/gate_multiplier", (1, 2), 1 << 20, r"gate: up to .* int32 does not hold"),
        ("blocks/down_shift", 0, 14, "down_shift: 14 is under 15"),
        ("head_shift", (), 31, "head_shift: 31 is outside of 0 to 30"),
        ("output_powers", 5, 1, "output_powers are not floor"),
    ],
)
def test_a_number_that_would_not_be_exact_is_refused(name, place, value, message):
    with pytest.raises(IntegerFileError, match=message):
        model_file.to_bytes(*changed(name, place, value))


def test_arrays_that_lack_or_have_another_shape_are_refused():
    config, arrays = changed("head_shift", (), 20)
    del arrays["head_shift"]
    with pytest.raises(IntegerFileError, match=r"head_shift lacks; expected int32\[\]"):
        model_file.check(config, arrays)
    arrays["head_shift"] = np.zeros(2, np.int64)
    with pytest.raises(IntegerFileError, match=r"head_shift is int64\[2\]"):
        model_file.check(config, arrays)


@pytest.mark.parametrize("shape", [dict(n_heads=5), dict(context=1025), dict(n_ages=0)])
def test_a_shape_that_is_no_network_is_refused(shape):
    good = dict(n_layers=1, d_model=32, n_heads=2, d_ff=64, n_ages=9, context=16)
    model_file.IntegerConfig(**good)
    with pytest.raises(IntegerFileError):
        model_file.IntegerConfig(**good | shape)


def test_no_cut_and_no_flipped_header_bit_is_read_as_a_model():
    whole, random = content(), np.random.default_rng(0)
    for n_bytes in [0, 7, 8, 100, *random.integers(0, len(whole), 50)]:
        with pytest.raises(IntegerFileError):
            model_file.from_bytes(whole[:n_bytes])
    for at in random.integers(0, 3000, 300):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << random.integers(0, 8)
        try:  # where it is read, it is another model, and has another digest
            model_file.from_bytes(bytes(damaged))
        except IntegerFileError:
            continue
