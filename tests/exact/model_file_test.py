"""The file of an integer model: the same bytes, and no number that would leave its bounds."""

import json

import numpy as np
import pytest

from latent_jax.exact import model_file
from latent_jax.exact.model_file import IntegerFileError
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.tokenizers.byte_model import digest_of, load_byte_model
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


def edited(change, more=b""):
    """The file with a header that `change` was applied to, and more bytes behind its arrays."""
    begin = 8 + int.from_bytes(content()[:8], "little")
    header = json.loads(content()[8:begin])
    text = json.dumps(change(header) or header).encode()
    return len(text).to_bytes(8, "little") + text + content()[begin:] + more


def with_array(name, shape, dtype="I32"):
    """The file with one more array, behind the others."""

    def change(header):
        begin = 8 + int.from_bytes(content()[:8], "little")
        size = len(content()) - begin
        more = int(np.prod(shape)) * 4
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [size, size + more]}

    return edited(change, bytes(int(np.prod(shape)) * 4))


@pytest.mark.parametrize("shape", [[2, 64], [2], [], [2, 1, 1]])
@pytest.mark.parametrize("name", ["blocks/gate_multiplier/x", "blocks/final", "x", "\x1b[31m"])
def test_an_array_that_no_network_has_is_refused(name, shape):
    """It could stand before the eyes of the proof, or of the kernels, in place of another."""
    with pytest.raises(IntegerFileError, match="is no array of an integer model") as error:
        model_file.from_bytes(with_array(name, shape))
    assert str(error.value).isprintable()
    model = integer_model()
    with pytest.raises(IntegerFileError, match="is no array of an integer model"):
        model_file.to_bytes(model.config, {**model.arrays, name: np.zeros(shape, np.int32)})


def test_an_array_behind_a_slash_hides_no_other():
    blocks = model_file.of_blocks({"blocks/gate": "a", "blocks/gate/x": "b", "gate": "c"})
    assert blocks == {"gate": "a", "gate/x": "b"}


def stating(**metadata):
    return edited(lambda header: {**header, "__metadata__": header["__metadata__"] | metadata})


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (stating(n_layers=1e999), "Infinity is no number of JSON"),
        (stating(n_layers=2).replace(b'"n_layers": 2', b'"n_layers":1e999'), "no finite number"),
        (stating(n_layers=2), "__metadata__ holds 2 at 'n_layers', where text was expected"),
        (stating(n_layers="-2"), "n_layers is '-2'; expected a number of at most 9 digits"),
        (stating(n_layers="0"), "numbers are at least 1"),
        (stating(n_layers="3"), r"is I32\[2, 32\]; expected I32\[3, 32\]"),
        (stating(context="1_6"), "context is '1_6'"),
        (stating(context="\u0661"), "context is "),
        (stating(context="9" * 5000), "context is "),
        (stating(d_model="512"), "d_model=512: its squares need over 31 bits"),
        (stating(depth="2"), "its metadata lack or have too many of depth"),
        (stating(version="2"), "it is .*'2'.*, and this program reads"),
        (edited(lambda header: {"__metadata__": header["__metadata__"]}), "belong to none"),
        (edited(lambda header: header.pop("__metadata__") and None), "it is .None, None"),
        (edited(lambda header: header["final_gain"].update(dtype="F32")), "final_gain is F32"),
        (edited(lambda header: header["final_gain"].update(dtype="U32")), "expected I32"),
        (edited(lambda header: header["final_gain"].update(shape=[4, 8])), r"is I32\[4, 8\]"),
        (edited(lambda header: [header]), "its header is not that of safetensors"),
    ],
)
def test_a_header_that_says_something_else_is_refused(damaged, message):
    with pytest.raises(IntegerFileError, match=message):
        model_file.from_bytes(damaged)


def test_no_cut_and_no_flipped_header_bit_is_read_as_the_same_model():
    whole, random = content(), np.random.default_rng(0)
    for n_bytes in [0, 7, 8, 100, *random.integers(0, len(whole), 50)]:
        with pytest.raises(IntegerFileError):
            model_file.from_bytes(whole[:n_bytes])
    digests = {digest_of(integer_model())}
    for at in random.integers(0, 8 + int.from_bytes(whole[:8], "little"), 300):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << random.integers(0, 8)
        try:  # where it is read, it is another model, and has another digest
            found = IntegerByteModel.from_bytes(bytes(damaged))
        except IntegerFileError:
            continue
        assert digest_of(found) not in digests
    assert digest_of(IntegerByteModel.from_bytes(whole)) in digests


def test_the_same_model_in_other_bytes_is_refused():
    # Compressed files name a model by the digest of its file: it has one file only.
    whole = content()
    size = int.from_bytes(whole[:8], "little")
    header = json.dumps(json.loads(whole[8 : 8 + size]), indent=1).encode()
    header += b" " * (-len(header) % 8)
    other = len(header).to_bytes(8, "little") + header + whole[8 + size :]
    with pytest.raises(IntegerFileError, match=r"not in the bytes that launch/prepare\.py writes"):
        load_byte_model("integer", other)
