"""Files of version 2: what the specification reads, whatever wrote them."""

import functools
import json

import numpy as np
import pytest

from latent_jax.codec import container
from latent_jax.codec.compress import compress_file, decompress_file, open_tokenizer
from latent_jax.methods.shipped_files import INTEGER_M1
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.models.integer_device import IntegerDeviceModel
from latent_jax.tokenizers import AC, EqualInfoAC, FingerprintError
from tests.codec.packing import pack, unpack
from tests.codec.versions import as_version_1
from tests.exact import reference
from tests.exact.models import content, integer_model, shipped_model

TEXT = b"".join(b"%d green bottles, hanging on the wall\n" % i for i in range(40))
TEXT += bytes(range(256))


@pytest.mark.parametrize(("vocab", "precision"), [(256, 14), (65536, 16)])
def test_the_reference_reads_what_is_written(vocab, precision, monkeypatch):
    monkeypatch.setattr(container, "TEXT_BYTES", 150)  # several texts
    packed = pack(TEXT[:400], AC(shipped_model(), vocab, precision))
    assert reference.decompress(shipped_model().to_bytes(), packed) == TEXT[:400]
    with pytest.raises(AssertionError):
        reference.decompress(content(), packed)
    packed = pack(bytes(range(256)), AC(shipped_model(), vocab, precision))  # stored
    assert reference.decompress(content(), packed) == bytes(range(256))


def test_known_text_gives_the_bits_that_steps_give(monkeypatch):
    """Also where texts end early, are empty, and are more than the lanes."""
    texts = [TEXT[at : at + n] for at, n in enumerate([0, 1, 16, 17, 300, 15, 2, 47, 100, 31])]
    tokenizer = AC(integer_model(lanes=3), 256)
    known = tokenizer.encode_batch(texts)
    assert tokenizer.decode_batch([ids for ids, _ in known]) == texts
    monkeypatch.setattr(AC, "_encode_known", AC._encode_group)
    for (ids, lengths), (own_ids, own_lengths) in zip(
        known, tokenizer.encode_batch(texts), strict=True
    ):
        np.testing.assert_array_equal(ids, own_ids)
        np.testing.assert_array_equal(lengths, own_lengths)


def test_neither_lanes_nor_workers_are_in_a_file(monkeypatch):
    packed = pack(TEXT, AC(shipped_model(lanes=2), 256))
    other = shipped_model(lanes=7)
    monkeypatch.setattr(other, "workers", 3)
    assert pack(TEXT, AC(other, 256)) == packed
    assert unpack(packed, AC(other, 256)) == TEXT
    header = json.loads(packed[12 : 12 + int.from_bytes(packed[8:12], "little")])
    assert set(header) == {"method", "model", "id_bits"} and packed[7] == 2


def test_few_texts_take_one_step_of_a_device_and_all_threads_of_a_processor(monkeypatch):
    """A device steps all lanes, used or not; on the processor a lane that is idle costs nothing."""
    monkeypatch.setattr(container, "TEXT_BYTES", 40)
    text, busy = TEXT[:120], []
    for kind, n_workers in ((IntegerDeviceModel, 1), (IntegerByteModel, 3)):
        model = kind.from_bytes(shipped_model().to_bytes(), lanes=4)
        start = model.start
        monkeypatch.setattr(model, "workers", 3)
        monkeypatch.setattr(
            model, "start", lambda worker=0, start=start: busy.append(worker) or start(worker)
        )
        tokenizer = AC(model, 256)
        texts = [text[:40], text[40:80], text[80:]]
        ids = [ids for ids, _ in tokenizer.encode_batch(texts)]
        busy.clear()
        assert tokenizer.decode_batch(ids) == texts and sorted(busy) == [*range(n_workers)]


def test_another_model_is_refused_by_its_digest():
    packed = pack(TEXT[:200], AC(shipped_model(), 256))
    with pytest.raises(ValueError, match=r"FILE was written .* model \w{12}, .* with --m1"):
        unpack(packed, AC(integer_model(seed=1), 256))
    windows = EqualInfoAC(shipped_model(), 32, 256)
    assert unpack(pack(TEXT, windows), windows) == TEXT
    with pytest.raises(ValueError, match="driven by the integer byte model"):
        unpack(pack(TEXT, windows), AC(shipped_model(), 256))


def test_a_saved_coder_that_was_changed_is_refused(tmp_path):
    tokenizer = AC(integer_model(), 256)
    tokenizer.save(tmp_path / "coder")
    assert AC.load(tmp_path / "coder").decode(tokenizer.encode(TEXT[:99])) == TEXT[:99]
    (tmp_path / "coder" / "byte_model.bin").write_bytes(content(seed=1))
    with pytest.raises(FingerprintError):
        AC.load(tmp_path / "coder")


def test_files_without_a_word_on_the_model_are_those_of_the_integer_m1(tmp_path):
    raw, packed, copy = (tmp_path / name for name in ("raw", "raw.latent", "copy"))
    raw.write_bytes(TEXT[:300])
    compress_file(raw, packed, lambda: open_tokenizer("AC[v=256]"))
    decompress_file(packed, copy)
    assert copy.read_bytes() == TEXT[:300]
    with open(INTEGER_M1, "rb") as file:
        assert reference.decompress(file.read(), packed.read_bytes()) == TEXT[:300]


def test_files_of_before_are_read_by_the_float_m1(tmp_path):
    raw, packed, copy = (tmp_path / name for name in ("raw", "raw.latent", "copy"))
    raw.write_bytes(TEXT[:100])
    make = functools.partial(open_tokenizer, "AC[v=256]", lanes=2, is_exact=False)
    compress_file(raw, packed, make)
    older = tmp_path / "older.latent"
    older.write_bytes(as_version_1(packed.read_bytes()))
    for file in (packed, older):
        decompress_file(file, copy)
        assert copy.read_bytes() == TEXT[:100]
        copy.unlink()
