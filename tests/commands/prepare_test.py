import errno
import hashlib
import json
import pydoc_data.topics
import resource
import signal
import types

import numpy as np
import pytest

from latent_jax.commands import integer_m1, prepare
from latent_jax.commands.integer_m1 import quantize_m1
from latent_jax.commands.prepare import _validation, export_m1
from latent_jax.methods import artefacts
from latent_jax.tasks.language_modeling import LanguageModeling
from tests.tokenizers.byte_models import CONFIG, byte_model, params


def test_a_checkpoint_that_was_never_evaluated_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 2, "split": "train"}\n{"step": 1, "split": "validation", "bits_per_byte": 3.0}\n'
    )
    assert _validation(tmp_path, 1)["bits_per_byte"] == 3.0
    with pytest.raises(ValueError, match=r"step 2 in .* was never evaluated: .* --checkpoint"):
        _validation(tmp_path, 2)


@pytest.mark.parametrize("method", ["GZip[v=256]", "AC[v=256]", "StaticAC[v=256]"])
def test_ids_that_are_no_bytes_make_no_byte_model(method, tmp_path, monkeypatch):
    """They are 257 as well, and a coder would take them for bytes."""
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(method=method),
        task=LanguageModeling(CONFIG, 256, 64, 1.0),
        variables={"params": params()},
        metadata={"step": 1},
    )
    monkeypatch.setattr(prepare, "load_run", lambda *_: run)
    with pytest.raises(ValueError, match=r"is a run of \w+\[v=256\], and M1 is one of Bytes"):
        export_m1(tmp_path, tmp_path / "m1.msgpack")
    assert not (tmp_path / "m1.msgpack").exists()


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A small byte model and text to quantize it by."""
    monkeypatch.setattr(integer_m1, "N_ROWS", 2)
    monkeypatch.setattr(integer_m1, "ROW_LENGTH", 64)
    (tmp_path / "a.txt").write_text(pydoc_data.topics.topics["lambda"] * 2)
    (tmp_path / "small.msgpack").write_bytes(byte_model().to_bytes())
    return dict(m1=str(tmp_path / "small.msgpack"), files=(str(tmp_path / "a.txt"),))


def test_the_record_of_a_quantized_model_has_its_digest(words, tmp_path, caplog):
    out = tmp_path / "made" / "m1.safetensors"
    quantize_m1(out, **words)
    caplog.clear()
    assert artefacts.load_m1(str(out)).config.d_model == CONFIG.d_model and not caplog.records
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert record["init_from"] == "small.msgpack" and record["scale_bytes"] == 128
    content = bytearray(out.read_bytes())
    content[-1] ^= 1
    out.write_bytes(content)
    with pytest.raises(ValueError, match=r"m1\.safetensors was damaged or changed since"):
        artefacts.load_m1(str(out))


@pytest.mark.parametrize("name", ["m1.safetensors", "start.npz"])
def test_a_disk_that_is_full_leaves_what_was_there(name, words, tmp_path):
    out = tmp_path / name
    quantize_m1(out, **words)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    if name == "start.npz":
        with np.load(out) as arrays:
            assert "params/blocks/gate" in arrays and "params/embedding" in arrays
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OSError) as error:
            quantize_m1(out, **words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before
