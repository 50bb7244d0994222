"""M1 in integers: from a float M1 to where its training begins, or straight to its file."""

import io
from pathlib import Path

import numpy as np

from latent_jax.data import DataConfig, open_corpus
from latent_jax.exact import model_file
from latent_jax.methods.artefacts import MAX_CONTEXT, load_m1, write_m1
from latent_jax.methods.shipped_files import M1_FILE
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.quantize import quantize
from latent_jax.models.quantized_gpt import export, integer_config
from latent_jax.paths import replace_file
from latent_jax.platform import Platform
from latent_jax.system_errors import check_writable
from latent_jax.tokenizers.byte_model import BEGIN

N_ROWS, ROW_LENGTH = 64, 512
"""Of the text whose ranges decide the scales, as configs/m1.py trains."""


def quantize_m1(
    out: str | Path,
    m1: str = "",
    *,
    files: tuple[str, ...],
    text_field: str = "text",
) -> None:
    """Write the integers of a float M1.

    Args:
        out: a `.npz` that `--config.training.init_from` of a run with quantized=true reads, or a
            `.safetensors`, the integer byte model itself, beside which goes a record, `.json`.
        m1: file of the float byte model; empty is the one that the package carries.
        files: text on whose ranges the scales rest.
        text_field: of .jsonl files.

    Raises:
        ValueError: the ending of `out` is another, M1 is no float byte model or has a shape that
            integers are not written for, or there is too little text.
        OSError: `out` cannot be written; what was there is unchanged.
    """
    check_writable(out)
    out = Path(out)
    if out.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"--out={out} ends in neither .npz (to train on) nor .safetensors")
    model = load_m1(m1)
    if not isinstance(model, GPTByteModel):
        raise ValueError(f"{m1} is in integers already: give a float byte model with --m1")
    words = dict(source="files", files=tuple(files), text_field=text_field)
    corpus = open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
    n_bytes = N_ROWS * ROW_LENGTH
    text = b"".join(document.text for document in corpus.documents("train", n_bytes))
    if len(text) < n_bytes:
        raise ValueError(f"{len(text)} bytes of text; the scales rest on {n_bytes}")
    rows = np.frombuffer(text[:n_bytes], np.uint8).astype(np.int32).reshape(N_ROWS, -1)
    rows = np.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=BEGIN)
    config = model.config.resolved(Platform.current())
    params = quantize(model.params, config, rows)
    if out.suffix == ".safetensors":
        content = model_file.to_bytes(integer_config(config, MAX_CONTEXT), export(params, config))
        record = {
            "model": "m1",
            "init_from": Path(m1).name or M1_FILE,
            "scale_text": [Path(path).name for path in files],
            "scale_bytes": n_bytes,
            "step": 0,
        }
        write_m1(out, content, record)
    else:
        blocks = {f"params/blocks/{name}": x for name, x in params.pop("blocks").items()}
        file = io.BytesIO()
        np.savez(file, **{f"params/{name}": x for name, x in params.items()}, **blocks)
        content = file.getvalue()
        replace_file(out, content)
    print(f"wrote {out}, {len(content) / 1e6:.2f} MB")
