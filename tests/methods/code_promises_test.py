"""A tokenizer that breaks a promise is refused where it is made, or where its ids enter."""

import numpy as np
import pytest

from latent_jax.contracts import Document
from latent_jax.methods import registry
from latent_jax.methods.family import Option
from latent_jax.methods.names import parse
from latent_jax.methods.text_code import TextCode
from latent_jax.methods.tokenizers import make_tokenizer, vocab_size
from latent_jax.tokenizers import Bytes, Tokenizer


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(Tokenizer, "kinds", dict(Tokenizer.kinds))


def tokenizer(**changes):
    """Return a tokenizer of bytes with other attributes or methods."""
    own = {"kind": "made_up", "arguments": (), "_files": lambda self: {"nothing": b""}}
    return type("MadeUp", (Bytes,), own | changes)()


def register(code, size=257, driven=False):
    @registry.register
    class Half(TextCode):
        """Made in a test."""

        name, example, summary = "Half", "Half[n=2]", "a family of this test"
        options = {"n": Option("a size")}

        def is_driven(self, method):
            return driven

        def vocab_size(self, method):
            return size

        def make_code(self, method, sources):
            return code

    return parse("Half[n=2]")


def as_ids(text):
    return np.frombuffer(text, np.uint8).astype(np.int32)


def fails(self, text):
    raise KeyError("象")


WRONG = {
    "two axes": (dict(encode=lambda s, t: as_ids(t)[:, None]), r"ids that are int32\[.*, 1\]"),
    "floats": (dict(encode=lambda s, t: as_ids(t) * 1.0), r"ids that are float64\[.*integers"),
    "a list": (dict(encode=lambda s, t: list(t)), "ids that are a list, and not integers"),
    "beyond": (dict(encode=lambda s, t: as_ids(t) + 2), "the id 257, which is outside"),
    "negative": (dict(encode=lambda s, t: as_ids(t) - 1), "the id -1, which is outside"),
    "separator": (dict(separator_id=65), "the id 65, which is its separator_id"),
    "no separator": (dict(separator_id=257), "separator_id of its tokenizer must be an id .* 256;"),
    "below": (dict(separator_id=-1), "separator_id of its tokenizer must be an id"),
    "text only": (dict(encode=lambda s, t: as_ids(t.decode().encode())), "UnicodeDecodeError"),
    "fails": (dict(encode=fails), r"fails on a text with every byte.*\(KeyError"),
    "lossy": (dict(decode=lambda s, i: b""), "does not give a sample of all bytes back"),
    "spoken": (
        dict(decode=lambda s, i: np.asarray(i).astype(np.uint8).tobytes()),
        r"decodes its separator to b'\\x00', and it stands for no",
    ),
    "lengths": (dict(byte_lengths=lambda s, i: np.full(len(i), 2)), "byte_lengths add up to"),
    "fewer": (dict(byte_lengths=lambda s, i: np.ones(len(i) // 2, int)), "one for each id"),
    "length list": (dict(byte_lengths=lambda s, i: [1] * len(i)), "byte_lengths that are a list"),
    "less": (
        dict(byte_lengths=lambda s, i: np.where(np.arange(len(i)) == 1, 3, 1) - 2 * (i == 0)),
        "an id of -1 bytes",
    ),
    "flops": (dict(flops_per_byte=None), "flops_per_byte of its tokenizer must be a number"),
    "name": (dict(name=""), "name of its tokenizer must be text"),
    "no size": (dict(vocab_size=None), "vocab_size of its tokenizer must be a whole number"),
    "files": (dict(_files=lambda s: s.absent), "AttributeError: .*has no attribute 'absent'"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_tokenizer_is_refused_where_it_is_made(changes, message):
    method = register(tokenizer(**changes))
    with pytest.raises(ValueError, match=message) as error:
        make_tokenizer(method)
    said = str(error.value)
    assert "MadeUp of" in said and "\n" not in said


def test_a_right_one_passes_and_what_is_none_does_not(tmp_path):
    assert make_tokenizer(register(tokenizer())).name == "Bytes"
    with pytest.raises(ValueError, match=r"make_code must return a Tokenizer .*got None"):
        make_tokenizer(register(None))
    nameless = type("Nameless", (Bytes,), {})()
    with pytest.raises(ValueError, match="tokenizer Nameless states no kind of its own"):
        make_tokenizer(register(nameless))
    for size in (None, 257.0, True, 1):
        with pytest.raises(ValueError, match=f"vocab_size must return how many .*got {size}"):
            vocab_size(register(tokenizer(), size))
    with pytest.raises(ValueError, match=r"says that .* has 300 ids, and its tokenizer has 257"):
        make_tokenizer(register(tokenizer(), 300))


@pytest.mark.parametrize("name", ["two axes", "beyond", "negative", "separator", "less", "lengths"])
def test_ids_are_checked_in_every_document_that_a_model_drives(name):
    changes, message = WRONG[name]
    changes = {"byte_lengths": lambda s, i: np.ones(len(i), np.int32)} | changes
    code = make_tokenizer(register(tokenizer(**changes), driven=True))  # M1 is not run
    with pytest.raises(ValueError, match=message) as error:
        code.encode_example(Document("a key", b"\x00A\xff text"))
    assert "document 'a key'" in str(error.value)
