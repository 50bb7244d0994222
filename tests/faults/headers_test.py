"""Headers of compressed files of others: no machine works for a minute before it refuses one."""

import pytest
from numba.core import event

from latent_jax.codec.compress import decompress_file
from latent_jax.codec.reading import ContainerError
from latent_jax.methods import tokenizers
from latent_jax.methods.shipped_files import FOLDER, INTEGER_M1, M1_FILE
from tests.faults.compress_test import IDENTITY, MODEL, ZEROS, gzip, with_header

FLOAT = dict(method="AC[v=256,p=13]", fingerprint=ZEROS, id_bits=8, lanes=64)
TABLE = dict(method="EqualInfoAC[b=16,v=65536,p=13]", fingerprint=ZEROS, id_bits=16)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({**FLOAT, "id_bits": 9}, "it has ids of 8 bits, and the header says 9"),
        ({**FLOAT, "lanes": 0}, "has lanes, and the header states none"),
        ({**FLOAT, "method": "AC[v=256,p=14]"}, r"it is called AC\[v=256\]"),
        ({**TABLE, "id_bits": 8}, "it has ids of 16 bits, and the header says 8"),
        ({**TABLE, "lanes": 64}, "no byte model drives it, and the header says 64 lanes"),
        ({**TABLE, "fingerprint": "", "model": ZEROS}, "drives it, and the header names one"),
        ({**TABLE, "method": "EqualInfoAC[b=16,v=65k,p=13]"}, "it is called Equal.*v=65536,p=13"),
        ({**IDENTITY, "fingerprint": "", "model": ZEROS}, "drives it, and the header names one"),
    ],
)
def test_what_a_header_cannot_say_is_refused_before_a_code_is_made(
    tmp_path, monkeypatch, header, message
):
    def made(*_, **__):
        pytest.fail("made a tokenizer")

    monkeypatch.setattr(tokenizers, "make_tokenizer", made)
    (tmp_path / "theirs").write_bytes(with_header(header, version=2))
    with pytest.raises(ContainerError, match=f"theirs asks for .*{message}"):
        decompress_file(tmp_path / "theirs", tmp_path / "out")


@pytest.mark.parametrize("method", ["AC[v=256,p=13]", "EqualInfoAC[b=32,v=256]", "AC[v=256]"])
def test_another_integer_model_is_refused_before_a_kernel_is_compiled(tmp_path, method, capfd):
    class Refusing(event.Listener):
        def on_start(self, event):
            pytest.fail(f"compiled {event.data['dispatcher'].py_func}")

        def on_end(self, event):
            pass

    (tmp_path / "theirs").write_bytes(with_header({**MODEL, "method": method}))
    words = "integer byte model 000000000000, and here is"
    with (
        event.install_listener("numba:compile", Refusing()),
        pytest.raises(ValueError, match=words),
    ):
        decompress_file(tmp_path / "theirs", tmp_path / "out")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("header", "line"),
    [
        (FLOAT, "AC[v=256,p=13]: M1 is compiled, which takes about half a minute"),
        (TABLE, "EqualInfoAC[b=16,v=65536,p=13]: M1 lists its 65,536 texts, which takes minutes"),
        ({**TABLE, "method": "EqualInfoAC[b=16,v=65536]"}, ""),
        (IDENTITY, ""),
    ],
)
def test_what_takes_long_is_said_before_it_begins(tmp_path, monkeypatch, header, line, capfd):
    monkeypatch.setattr(tokenizers, "make_tokenizer", lambda *_, **__: gzip())
    (tmp_path / "theirs").write_bytes(with_header(header))
    with pytest.raises(ValueError, match=r"was written with .*, and here is GZip"):
        decompress_file(tmp_path / "theirs", tmp_path / "out")
    assert capfd.readouterr().err == (f"{line}, to compare its fingerprint\n" if line else "")


@pytest.mark.parametrize(
    ("header", "m1", "message"),
    [
        ({**MODEL, "method": "AC[v=256,p=13]"}, M1_FILE, "in integers, and .* is one in floats"),
        (FLOAT, INTEGER_M1, "in floats, and .* is one in integers"),
    ],
)
def test_a_byte_model_of_another_kind_is_refused(tmp_path, header, m1, message):
    (tmp_path / "theirs").write_bytes(with_header(header))
    with pytest.raises(ContainerError, match=message):
        decompress_file(tmp_path / "theirs", tmp_path / "out", m1=str(FOLDER / m1))
