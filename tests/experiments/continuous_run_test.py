"""Configs through the loop itself: trained, evaluated, saved, drawn."""

from configs import latent_lm
from latent_jax.experiments.evaluate import evaluate
from latent_jax.experiments.run import run
from latent_jax.reports.records import read_run


def test_continuous_latents_are_judged_by_their_reconstruction(tmp_path, capsys):
    config = latent_lm.get_config("size=nano,quantizer=none")
    config.autoencoder.update(d_model=16, n_heads=2)
    config.update(row_length=32, batch_size=8, evaluation_bytes=1000)
    config.budget.update(bytes=0.0, steps=2.0)
    config.optimizer.warmup_steps = 1
    config.data.cache_dir = str(tmp_path / "cache")
    record = run(config, tmp_path / "run")
    shown = f"validation {record['reconstruction_bits_per_byte']:.4f} reconstruction bits/byte"
    assert shown in capsys.readouterr().err
    assert "bits_per_byte" not in record
    assert (tmp_path / "run" / "curves.png").stat().st_size > 0
    assert read_run(tmp_path / "run").metric == "reconstruction_bits_per_byte"
    again = evaluate(tmp_path / "run", max_bytes=1000)
    assert again["reconstruction_bits_per_byte"] == record["reconstruction_bits_per_byte"]
