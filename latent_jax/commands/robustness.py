"""The work of `launch/analyze.py robustness`: open runs and texts, and score them under noise."""

from collections.abc import Iterator, Sequence

import numpy as np

from latent_jax.analysis.boundaries.noise import NOISES, noised
from latent_jax.analysis.codes import Tables
from latent_jax.analysis.options import NoisedTextOptions
from latent_jax.analysis.robustness import Scored, grouped, robustness_records
from latent_jax.bars import Bar
from latent_jax.commands.boundaries import (
    batches_of,
    check_has_bits,
    check_named,
    check_reads_text,
    origin_of,
    shared_texts,
)
from latent_jax.commands.opening import named_files
from latent_jax.commands.prompts import text_of
from latent_jax.contracts import Document
from latent_jax.experiments.evaluate import Run, load_run, read_config
from latent_jax.paths import open_path
from latent_jax.training import Evaluator


def measured(options: NoisedTextOptions) -> Iterator[Tables]:
    """Yield the records of each run on each text; one run is in memory at a time.

    Raises:
        ValueError: no run is named, a run reads no text or has no bits per byte, the runs share no
            text, or a text cannot be read.
    """
    check_named(options)
    names = named_files(options.text)
    for workdir in options.workdir:
        check_reads_text(workdir, read_config(open_path(workdir)))
    corpora = {} if names else {workdir: text_of(workdir) for workdir in options.workdir}
    texts = shared_texts(options, corpora, names)
    with Bar("measuring", len(options.workdir) * len(texts), "texts") as bar:
        for workdir in options.workdir:
            run = load_run(workdir, options.checkpoint)
            for name, own in texts.items():
                records = robustness_records(
                    scored_noises(run, grouped(own), options.seed), len(own), options.seed
                )
                origin = origin_of(workdir, run) | {"text": name}
                yield {"robustness": [origin | record for record in records]}
                bar.update(1, f"{run.config.method}, {name}")
            del run  # or it would stay until the next one is loaded


def scored_noises(run: Run, groups: Sequence[Sequence[bytes]], seed: int) -> dict[str, Scored]:
    """Return the bits of each group of documents under each noise.

    Args:
        run: its task has bits per byte.
        groups: of documents, none empty.
        seed: of the noise.

    Raises:
        ValueError: the task has no bits per byte.
    """
    evaluator, rows = Evaluator(run.task, run.mesh), _rows_at_a_time(run, groups)
    found = {}
    for noise in NOISES:
        bits, n_bytes = [], []
        for group in groups:
            texts = noised(group, noise, seed)
            n_bytes.append(sum(map(len, texts)))
            bits.append(0.0)  # of documents of which the noise leaves nothing
            if texts:
                sums = evaluator(run.variables, batches_of(run, texts, rows))
                metrics = run.task.summarize(sums)
                check_has_bits(run, metrics)
                bits[-1] = metrics["bits_per_byte"] * n_bytes[-1]
        found[noise] = Scored(np.array(bits), np.array(n_bytes))
    return found


def _rows_at_a_time(run: Run, groups: Sequence[Sequence[bytes]]) -> int:
    """Return about as many rows as the longest group fills, and at most those of training.

    Groups end in rows that are padded up to a batch, so large ones would be mostly padding.
    """
    largest = max(groups, key=lambda group: sum(map(len, group)))
    n_ids = 0
    for text in largest:
        fields = run.code.encode_example(Document("", text)).fields
        n_ids += len(next(iter(fields.values())))
    n_devices = run.mesh.devices.size
    n_rows = min(-(-n_ids // run.config.row_length), run.config.batch_size)
    return min(-(-n_rows // n_devices) * n_devices, run.config.batch_size)
