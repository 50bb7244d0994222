"""Byte models that are broken: nothing is coded by one, and its file is refused."""

import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from latent_jax.codec import compress
from latent_jax.codec.compress import DEFAULT, open_tokenizer
from latent_jax.methods import artefacts, shipped_files
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.tokenizers import AC, EqualInfoAC
from latent_jax.tokenizers.byte_model import N_SYMBOLS, first_defect
from latent_jax.tokenizers.likeliest import likeliest_texts
from tests.exact.models import content as integer_content
from tests.tokenizers.byte_models import CONFIG, byte_model, params

UNIFORM = np.full(N_SYMBOLS, 1 / N_SYMBOLS, np.float32)


def changed(**places):
    row = UNIFORM.copy()
    for place, value in places.items():
        row[int(place[1:])] = value
    return row


BROKEN = {
    "NaN": changed(_7=np.nan),
    "NaN at the end": changed(_256=np.nan),
    "infinite": changed(_7=np.inf),
    "minus infinity": changed(_7=-np.inf),
    "all zero": 0 * UNIFORM,
    "not normalised": 2 * UNIFORM,
    "logits": np.linspace(-3, 3, N_SYMBOLS, dtype=np.float32),
    "negative": changed(_7=-0.2, _8=0.2 + 2 / N_SYMBOLS),
}


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("lane", [0, 2])
def test_a_row_that_is_no_distribution_is_seen(row, lane):
    rows_BV = np.stack([UNIFORM, UNIFORM, UNIFORM])
    one_hot = np.eye(N_SYMBOLS, dtype=np.float32)[[3, 256]]
    assert first_defect(rows_BV) == first_defect(one_hot) == -1
    assert first_defect(rows_BV.astype(np.float16).astype(np.float32)) == -1
    rows_BV[lane] = row
    assert first_defect(rows_BV) == lane


class Broken:
    """A byte model of two lanes that breaks at its second step."""

    kind, lanes, workers, flops_per_byte = "broken", 2, 1, 1.0
    is_exact = skips_idle = False

    def __init__(self, row):
        self._row = row

    def start(self, worker=0):
        return 0

    def step(self, state, ids_B, positions_B):
        return np.stack([UNIFORM, self._row if state == 1 else UNIFORM]), state + 1

    def to_bytes(self):
        return b""


@pytest.mark.parametrize("row", [BROKEN["NaN"], BROKEN["all zero"], BROKEN["not normalised"]])
@pytest.mark.parametrize(
    "encode",
    [
        lambda model: AC(model, 256).encode(b"elephants"),
        lambda model: EqualInfoAC(model, 32, 256).encode(b"elephants"),
        lambda model: AC(model, 256).fingerprint(),
        lambda model: likeliest_texts(model, 300),
    ],
    ids=["AC", "EqualInfoAC", "probe", "likeliest"],
)
def test_nothing_is_coded_by_a_broken_model(encode, row):
    encode(Broken(UNIFORM))
    with pytest.raises(ValueError, match=r"no distribution: after id .* use another M1"):
        encode(Broken(row))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_parameters_that_its_file_cannot_hold_are_refused(value):
    tree = jax.tree.map(np.array, params())
    table = tree["token_embedding"]["embedding"]
    table[3, 5] = value
    with pytest.raises(ValueError, match="token_embedding/embedding of a byte model has a value"):
        GPTByteModel(CONFIG, tree, context=64)
    table[3, 5] = 65504.0
    GPTByteModel(CONFIG, tree, context=64)


@pytest.fixture
def m1(tmp_path):
    """The file of a byte model and its record, as `launch/prepare.py m1` writes them."""
    content = byte_model(lanes=2).to_bytes()
    (tmp_path / "m1.msgpack").write_bytes(content)
    record = {"model": "m1", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "m1.json").write_text(json.dumps(record))
    return tmp_path / "m1.msgpack"


@pytest.mark.parametrize("at", [0.02, 0.5, 0.999])
def test_a_flipped_bit_in_its_file_is_seen(m1, at):
    artefacts.load_m1(str(m1))
    content = bytearray(m1.read_bytes())
    content[int(at * len(content))] ^= 4
    m1.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"m1.msgpack was damaged or changed since"):
        artefacts.load_m1(str(m1))
    with pytest.raises(ValueError, match="was written beside"):
        artefacts.m1_digest(str(m1))


def test_a_file_without_its_record_is_taken_as_it_is(m1):
    m1.with_suffix(".json").unlink()
    assert artefacts.load_m1(str(m1)).config.d_model == CONFIG.d_model


@pytest.mark.parametrize("content", [b"", b"\x00", b"[]", b"\x93" * 10_000, b"\xc1", b"\x80"])
def test_what_is_no_byte_model_is_named(tmp_path, content):
    path = tmp_path / "m1.msgpack"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m1.msgpack is no byte model, or was cut short"):
        artefacts.load_m1(str(path))


def test_the_shipped_record_has_the_digest():
    record = json.loads((artefacts.FOLDER / "m1.json").read_text())
    assert record["sha256"] == artefacts.m1_digest()


def test_the_integer_model_has_its_digest_in_its_record_and_in_the_program(caplog):
    record = json.loads(Path(shipped_files.INTEGER_M1).with_suffix(".json").read_text())
    digest = artefacts.m1_digest(shipped_files.INTEGER_M1)
    assert record["sha256"] == digest == shipped_files.INTEGER_M1_SHA256
    assert not caplog.records, "nobody is warned of a file without a digest"
    assert open_tokenizer(DEFAULT).model_digest == digest


@pytest.mark.parametrize("at", [0.0001, 0.002, 0.02, 0.5, 0.999])
@pytest.mark.parametrize("method", [DEFAULT, "EqualInfoAC[b=32,v=256]"])
def test_a_flipped_bit_in_the_model_of_compressed_files_is_seen(tmp_path, monkeypatch, at, method):
    original = Path(shipped_files.INTEGER_M1)
    content, path = bytearray(original.read_bytes()), tmp_path / original.name
    shutil.copy(original.with_suffix(".json"), tmp_path)
    path.write_bytes(content)
    for module in (shipped_files, compress):
        monkeypatch.setattr(module, "INTEGER_M1", str(path))
    open_tokenizer(method)
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m1_integer\.safetensors (is not the|was damaged)"):
        open_tokenizer(method)
    path.unlink()
    with pytest.raises(ValueError, match=r"m1_integer\.safetensors cannot be read"):
        open_tokenizer(method)


def test_an_integer_model_that_is_wrong_is_named(tmp_path):
    path = tmp_path / "m1.safetensors"
    for content in (integer_content()[:-1], integer_content()[:99], b"{" + integer_content()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"m1.safetensors is no byte model, or was cut short"):
            artefacts.load_m1(str(path))
