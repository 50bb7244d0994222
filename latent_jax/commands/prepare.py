"""Prepares files that methods need before training: M1 as a file, and its compiled code."""

import time
from pathlib import Path

import jax

from latent_jax.experiments.evaluate import load_run
from latent_jax.json_files import Kind, read_json
from latent_jax.methods import artefacts
from latent_jax.methods.bytes import Bytes
from latent_jax.methods.equal_info_ac import compiled
from latent_jax.methods.names import parse
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.models.quantized_gpt import export, integer_config
from latent_jax.paths import replace_file
from latent_jax.system_errors import check_writable
from latent_jax.tasks.integer_language_modeling import IntegerLanguageModeling
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tokenizers import CompiledCode
from latent_jax.tokenizers.hugging_face import to_hugging_face
from latent_jax.training.metrics import read_records

COMPILED_METHOD = "EqualInfoAC[b=16,v=65k]"


def export_m1(workdir: str | Path, out: str | Path, checkpoint: str = "best") -> dict:
    """Write the byte model of a run as one file, and a record of its training beside it.

    Args:
        workdir: run folder of `configs/m1.py`.
        out: the file, `.msgpack`, or `.safetensors` of a run in integers; the record gets the same
            name and `.json`.
        checkpoint: "best", "latest", or a step.

    Returns:
        The record.

    Raises:
        ValueError: the run is no language model over bytes with relative positions, or `out` is no
            place for a file.
        OSError: `out` cannot be written.
    """
    check_writable(out)
    run = load_run(workdir, checkpoint)
    is_bytes = parse(run.config.method).family == Bytes.name
    if not is_bytes or not isinstance(run.task, LanguageModeling):
        raise ValueError(
            f"{workdir} is a run of {run.config.method}, and M1 is one of {Bytes.name}, as "
            "configs/m1.py trains it"
        )
    model_config, params = run.task.model_config, run.variables["params"]
    if isinstance(run.task, IntegerLanguageModeling):
        shape = integer_config(model_config, artefacts.MAX_CONTEXT)
        model = IntegerByteModel(shape, export(params, model_config))
    else:
        model = GPTByteModel(model_config, params, context=64)
    scores = _validation(Path(workdir), run.metadata["step"])
    keys = {"device_kind": str, "cpu_count": int, "packages": dict}
    environment = read_json(Path(workdir) / "environment.json", Kind(keys=keys))
    content = model.to_bytes()
    record = {
        "model": "m1",
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(run.variables["params"])),
        "n_layers": run.config.model.n_layers,
        "d_model": run.config.model.d_model,
        "optimizer": run.config.optimizer.name,
        **({"init_from": Path(started).name} if (started := run.config.training.init_from) else {}),
        **{f"snippets_{key}": value for key, value in run.config.snippets.items()},
        "seed": run.config.seed,
        "text": [Path(path).name for path in run.config.data.files] or run.config.data.source,
        **{key: scores[key] for key in ("step", "bytes_seen", "seconds", "train_flops")},
        "bits_per_byte": scores["bits_per_byte"],
        "snippet_bits_per_byte": scores.get("snippet_bits_per_byte"),
        "device": f"{environment['device_kind']} x {environment['cpu_count']} cores",
        "packages": environment["packages"],
    }
    record = artefacts.write_m1(Path(out), content, record)
    print(f"wrote {out}, {len(content) / 1e6:.2f} MB: {record['bits_per_byte']:.3f} bits/byte")
    return record


def compile_code(out: str | Path, m1: str = "", method: str = COMPILED_METHOD) -> CompiledCode:
    """Compile the code of one-token windows from M1 and save it.

    Args:
        out: folder of the saved tokenizer.
        m1: file of the byte model; "" = the one in the package.
        method: literature name.

    Raises:
        ValueError: the method cannot be a table, M1 cannot be read, or the folder holds another
            code.
    """
    check_writable(out, is_folder=True)
    start = time.monotonic()
    code = compiled(parse(method), m1)
    code.save(Path(out))
    lengths = code.byte_lengths(range(code.separator_id))
    size = sum(path.stat().st_size for path in Path(out).iterdir())
    print(
        f"wrote {out}, {size / 1e3:.0f} kB: {len(lengths):,} texts of {lengths.mean():.2f} bytes, "
        f"the longest {lengths.max()}, in {time.monotonic() - start:.0f} s"
    )
    return code


def export_hugging_face(out: str | Path, folder: str | Path = "") -> None:
    """Write a compiled code as a `tokenizer.json` of Hugging Face's tokenizers.

    Args:
        out: the file.
        folder: of the saved code; "" = the one in the package.
    """
    check_writable(out)
    code = CompiledCode.load(Path(folder or shipped_paths()[1]))
    replace_file(out, to_hugging_face(code).to_str().encode())
    print(f"wrote {out}, {Path(out).stat().st_size / 1e6:.2f} MB: {code.vocab_size:,} ids")


def _validation(workdir: Path, step: int) -> dict:
    """Return the validation record of a step.

    Raises:
        ValueError: there is none.
    """
    for record in read_records(workdir / "metrics.jsonl"):
        if (record["step"], record["split"]) == (step, "validation"):
            return record
    raise ValueError(
        f"the checkpoint of step {step} in {workdir} was never evaluated: let the run go on to an "
        "evaluation, or name another one with --checkpoint"
    )


def shipped_paths() -> tuple[Path, Path]:
    """Return the paths of the package's M1 and of its compiled code."""
    return artefacts.FOLDER / artefacts.M1_FILE, artefacts.FOLDER / artefacts.COMPILED_FOLDER
