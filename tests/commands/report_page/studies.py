"""Studies with real tokenizers and real text, small enough for any test."""

import json
import pydoc_data.topics
from pathlib import Path

from latent_jax.commands.report_page import write_report_page
from latent_jax.tokenizers import BPE, Bytes, StaticAC

ROOT = Path(__file__).parents[3]
ENGLISH = "\n\n".join(pydoc_data.topics.topics.values())
METHODS = {
    "bpe": "BPE[v=1024]",
    "bytes": "Bytes",
    "static": "StaticAC[v=256]",
    "latent": "Latent[conv1d,c=2,k=64]",
}


def write_study(folder):
    """Write four runs: their curves, samples, and trained tokenizers."""
    texts = [topic.encode() for topic in pydoc_data.topics.topics.values()]
    tokenizers = {
        "bpe": BPE.train(texts, 1024),
        "bytes": Bytes(),
        "static": StaticAC.train(texts, 256),
        "latent": Bytes(),
    }
    for rank, (name, method) in enumerate(METHODS.items()):
        run = folder / name
        tokenizers[name].save(run / "tokenizer")
        (run / "config.json").write_text(json.dumps({"name": "", "method": method}))
        lines = []
        for step in range(1, 6):
            bits = 2.0 + rank / 4 + 2 / step
            record = {"step": step, "split": "validation", "bytes_seen": 1e5 * step}
            record |= {"seconds": 7.0 * step, "bits_per_byte": bits}
            if name == "latent":
                record |= {
                    "reconstruction_bits_per_byte": 0.25 * bits,
                    "language_model_bits_per_byte": 0.75 * bits,
                    "reconstruction_accuracy": 1 - 0.1 / step,
                }
            lines.append(json.dumps(record) + "\n")
        (run / "metrics.jsonl").write_text("".join(lines))
    samples = folder / "latent" / "samples"
    samples.mkdir()
    (samples / "step_0000005.txt").write_text(
        "          text: with <b>tags</b> & more\nreconstruction: with <b>tacs</b> & more\n\n"
        "          text: another\nreconstruction: another\n"
    )
    return folder


def write_sweep(folder):
    """Write the published cells of the laptop sweep as the folder of a sweep."""
    (folder / "cells").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    cells = json.loads((ROOT / "configs" / "results" / "sweep_laptop.json").read_text())
    for cell in cells:
        (folder / "cells" / cell["name"]).mkdir()
        (folder / "cells" / cell["name"] / "cell.json").write_text(json.dumps(cell))
    return folder


def write_analysis(path):
    """Write what an analysis of entropy looks like."""
    records = [
        {"method": method, "n": n, "held_out_bits_per_byte": bits + 2 / n, "n_samples": 1000 * n}
        for method, bits in (("Bytes", 2.0), ("BPE[v=1024]", 2.2))
        for n in range(1, 6)
    ]
    path.write_text(json.dumps(records))
    return path


def write_pages(folder):
    """Return the page of a study of runs, and that of a sweep."""
    study = write_study(folder / "compressors")
    analysis = write_analysis(folder / "entropy.json")
    sweep = write_sweep(folder / "laptop")
    return (
        write_report_page([study], folder / "runs_page", analyses=[analysis]),
        write_report_page([sweep], folder / "sweep_page", extra=[study / "bpe" / "tokenizer"]),
    )
