import json

import pytest

from latent_jax.methods.registry import looks
from latent_jax.reports.style import show_families

show_families(looks())

LATENT = dict(
    bits_per_byte=3.0,
    reconstruction_bits_per_byte=0.5,
    language_model_bits_per_byte=2.5,
    reconstruction_accuracy=0.95,
    codebook_perplexity=128.0,
    codebook_perplexity_share=0.25,
    codebook_usage=0.5,
    dead_codes=256.0,
    unigram_bits_per_byte=3.5,
    uniform_bits_per_byte=4.5,
)


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes a run folder of `steps` evaluations and training records."""

    def make(folder="run", method="Bytes", *, steps=5, name="", metrics=None, unit="bytes"):
        run = tmp_path / folder
        run.mkdir(parents=True)
        config = {"name": name, "method": method, "model": {"d_model": 64, "n_layers": 2}}
        (run / "config.json").write_text(json.dumps(config))
        records = []
        for step in range(0, 10 * steps, 10):
            for split in ("validation", "train"):
                values = dict(metrics or {"bits_per_byte": 3.0})
                values["bits_per_byte"] += 5.0 / (1 + step)
                record = {"step": step, "split": split, f"{unit}_seen": 1000 * step, **values}
                records.append(record)
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (run / "metrics.jsonl").write_text(lines)
        return run

    return make


@pytest.fixture
def latent_metrics():
    return dict(LATENT)
