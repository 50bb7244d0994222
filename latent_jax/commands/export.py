"""Converts a trained run to a folder that Hugging Face's transformers reads, and back."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.contracts import Vocabulary
from latent_jax.data import batch_spec
from latent_jax.experiments.evaluate import load_run
from latent_jax.experiments.pretrained import MOST_ROW_LENGTH, model_name, run_config
from latent_jax.methods.tasks import make_task
from latent_jax.models import safetensors
from latent_jax.models.hugging_face import to_hugging_face
from latent_jax.models.pretrained import CONFIG, TOKENIZER, WEIGHTS, open_pretrained
from latent_jax.system_errors import check_writable
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tokenizers import bpe, hugging_face
from latent_jax.tokenizers.storage import write_folder
from latent_jax.training import OptimizerConfig, make_mesh, open_run_folder
from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.identity import run_identity
from latent_jax.training.recorder import nothing_seen
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.task_optimizer import optimizer_of


def export_run(workdir: str | Path, out: str | Path, checkpoint: str = "best") -> None:
    """Write a run's language model as `config.json`, `model.safetensors` and its tokenizer.

    Args:
        workdir: the run folder.
        out: a new folder.
        checkpoint: "best", "latest", or a step.

    Raises:
        ValueError: the folder holds no run of a GPT over ids, transformers has no such model, or
            `out` holds something else.
    """
    check_writable(out, is_folder=True)
    run = load_run(workdir, checkpoint)
    if not isinstance(run.task, LanguageModeling):
        raise ValueError(
            f"{workdir} holds {run.config.method}: transformers has no such model; only a language "
            "model over a tokenizer's ids can be exported"
        )
    params = jax.device_get(run.variables["params"])
    separator_id = run.tokenizer.separator_id
    words, tensors = to_hugging_face(run.task.model_config, params, separator_id)
    theirs = _tokenizer_files(run.tokenizer, Path(workdir) / TOKENIZER)
    files = {
        CONFIG: (json.dumps(words, indent=2) + "\n").encode(),
        WEIGHTS: safetensors.to_bytes(tensors),
        **theirs,
    }
    write_folder(Path(out), files)
    run.tokenizer.save(Path(out) / TOKENIZER)
    print(f"wrote {out}: {words['architectures'][0]}, {len(files[WEIGHTS]) / 1e6:.2f} MB")
    if not theirs:
        print(
            f"Hugging Face's tokenizers cannot express {run.config.method}: {TOKENIZER}/ holds it "
            f"for --back. Begin every text with the id {separator_id}, as the rows that the model "
            "was trained on did"
        )


def import_folder(folder: str | Path, workdir: str | Path, config: ConfigDict) -> None:
    """Make a run folder, at step 0, from a published model and its tokenizer.

    The run can be evaluated on any text, generate text, and be exported again.

    Args:
        folder: as `export_run` writes it, or any that `models.pretrained` reads: a GPT-2, a Llama
            or a Qwen2 with tied embeddings. It may also be a .gguf.
        workdir: the run folder; must not exist.
        config: the defaults of all config keys, see `configs.common.default`.

    Raises:
        ValueError: the folder is incomplete or holds another kind of model, or `workdir` exists.
    """
    folder, workdir = Path(folder), Path(workdir)
    if workdir.exists():
        raise ValueError(f"{workdir} exists: name a new --workdir")
    found = open_pretrained(folder)
    params, tokenizer = found.params(), found.tokenizer()
    saved = workdir / TOKENIZER
    config = run_config(config, found.config, tokenizer, model_name(folder), saved)
    if found.config.positions != "learned":
        config.row_length = min(config.row_length, MOST_ROW_LENGTH)
    run_folder = open_run_folder(workdir, config.to_dict())
    tokenizer.save(run_folder.tokenizer)
    _save_checkpoint(run_folder.checkpoints, config, tokenizer, params)
    print(
        f"wrote {workdir}: {tokenizer.name}, {found.config.n_layers} layers "
        f"{found.config.d_model} wide"
    )


def _save_checkpoint(
    folder: Path, config: ConfigDict, tokenizer: tokenizers.Tokenizer, params: Any
) -> None:
    """Write the parameters as the checkpoint of step 0, with a fresh optimizer state."""
    task = make_task(config, Vocabulary.of(tokenizer, bytes_per_token=1.0))
    strategy = config.training.strategy
    mesh = make_mesh(strategy, config.training.model_parallel)
    spec = batch_spec(config.batch_size, config.row_length)
    optimizer = optimizer_of(
        task, spec, OptimizerConfig(**config.optimizer), 1 + config.optimizer.warmup_steps
    )
    init = initial_state(task, optimizer, spec, config.seed)
    abstract = abstract_state(init, mesh, strategy)
    placed = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), params, abstract.params)
    state = create_state(init, abstract).replace(params=placed)
    identity = run_identity(
        task,
        abstract.params,
        batch_size=config.batch_size,
        row_length=config.row_length,
        tokenizer_fingerprint=tokenizer.fingerprint(),
        data_workers=config.data.num_workers,
    )
    metadata = {"identity": identity, **nothing_seen(task)}
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, None, metadata, None)
    checkpoints.close()


def _tokenizer_files(tokenizer: tokenizers.Tokenizer, saved: Path) -> dict[str, bytes]:
    """Return the files by which transformers reads a tokenizer, by name; {} if it cannot.

    Args:
        tokenizer: of the run.
        saved: the folder where it was saved.
    """
    if isinstance(tokenizer, bpe.BPE):
        files = {name: (saved / name).read_bytes() for name in bpe.BPE.file_names}
        return files | _tokenizer_config("GPT2Tokenizer", bpe.SEPARATOR)
    if isinstance(tokenizer, tokenizers.CompiledCode):
        text = hugging_face.to_hugging_face(tokenizer).to_str()
        config = _tokenizer_config("PreTrainedTokenizerFast", hugging_face.SEPARATOR)
        return {"tokenizer.json": text.encode(), **config}
    return {}


def _tokenizer_config(kind: str, separator: str) -> dict[str, bytes]:
    special = {f"{name}_token": separator for name in ("bos", "eos", "unk")}
    # Cleaning up would take spaces out of decoded text.
    words = {"tokenizer_class": kind, **special, "clean_up_tokenization_spaces": False}
    return {"tokenizer_config.json": (json.dumps(words, indent=2) + "\n").encode()}
