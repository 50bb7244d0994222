import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.safetensors import DTYPES, from_bytes, read, to_bytes

TENSORS = {
    word: np.arange(6).reshape(2, 3).astype(dtype)[:, : i % 3 + 1]
    for i, (word, dtype) in enumerate(DTYPES.items())
} | {"scalar": np.array(2.5, np.float32), "none": np.zeros((0, 3), np.float32)}


def test_what_is_written_is_read():
    found = from_bytes(to_bytes(TENSORS))
    assert found.keys() == TENSORS.keys()
    for name, x in TENSORS.items():
        assert found[name].dtype == x.dtype
        np.testing.assert_array_equal(found[name], x)


def test_the_library_reads_and_writes_the_same():
    library = pytest.importorskip("safetensors.numpy", reason="needs the library safetensors")
    tensors = {name: x for name, x in TENSORS.items() if x.dtype != jnp.bfloat16}
    theirs = library.load(to_bytes(tensors))
    for made in (theirs, from_bytes(library.save({k: np.array(x) for k, x in tensors.items()}))):
        assert made.keys() == tensors.keys()
        for name, x in tensors.items():
            assert made[name].dtype == x.dtype
            np.testing.assert_array_equal(made[name], x)


WHOLE = to_bytes({"a": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE[:-1], "a ends at byte 16 of 15: it is cut off"),
        (WHOLE[:20], "the file is cut off"),
        (b"", "the file is cut off"),
        (WHOLE.replace(b"[2, 2]", b"[2, 3]"), r"a has 16 bytes, and its shape is \[2, 3\] of F32"),
        (WHOLE.replace(b"F32", b"F13"), "a is F13; only F64"),
        (WHOLE.replace(b'"dtype"', b'"dtipe"'), "its header is not that of safetensors"),
        (WHOLE.replace(b"{", b"[", 1), "its header is not that of safetensors"),
    ],
)
def test_a_damaged_file_is_named(content, message, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"a.safetensors is no safetensors file: .*{message}"):
        read(path)


def test_what_cannot_be_written_or_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="b is complex64; safetensors has F64"):
        to_bytes({"b": np.zeros(2, np.complex64)})
    with pytest.raises(ValueError, match="missing cannot be read: No such file"):
        read(tmp_path / "missing")
