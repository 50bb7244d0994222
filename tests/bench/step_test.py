import pytest

from configs import language_model, latent_lm
from latent_jax.bench import step as module
from latent_jax.bench.step import benchmark_steps, benchmark_steps_and_print, profile_folder
from latent_jax.reports.tables import read_json


def tiny(config):
    config.row_length, config.batch_size = 16, 8
    config.model.update(d_model=32, n_layers=1, n_heads=2)
    config.autoencoder.update(d_model=32, n_layers=1, n_heads=2)
    return config


def test_steps_are_timed_and_traced(tmp_path, capsys):
    path = tmp_path / "steps.json"
    configs = {
        "configs/bpe": tiny(language_model.get_config("method=BPE[v=300],size=nano")),
        "latent": tiny(latent_lm.get_config("size=nano,codes=64")),
    }
    words = dict(n_steps=2, json_path=str(path))
    benchmark_steps_and_print(configs, profile=tmp_path / "traces", **words)
    printed = capsys.readouterr().out
    # Where another test of this process has loaded libtpu, the trace holds no CPU, which is said.
    assert printed.count("kind of work") + printed.count("the trace cannot be summed up") == 2
    for name in configs:
        assert list(profile_folder(tmp_path / "traces", name).rglob("*.xplane.pb"))
    bpe, latent = read_json(path)
    assert (bpe["name"], bpe["method"]) == ("configs/bpe", "BPE[v=300]")
    assert latent["name"] == "latent"
    for record in (bpe, latent):
        assert record["step_ms"] > 0 and record["compile_seconds"] > 0
        assert record["tokens_per_s"] * record["step_ms"] == pytest.approx(1e3 * 8 * 16)
        # A CPU has no peak that is known.
        assert record["model_flops_utilization"] is None and record["device_count"] == 8
        # At least the parameters and Adam's two moments of each.
        assert record["memory_bytes"] > 3 * 4 * record["n_parameters"]
    assert bpe["memory_bytes"] != latent["memory_bytes"]
    # 4 bytes are assumed for an id of BPE, and 1 for a byte.
    assert bpe["bytes_per_s"] == pytest.approx(4 * bpe["tokens_per_s"])
    assert latent["bytes_per_s"] == pytest.approx(latent["tokens_per_s"])

    one = {"again": tiny(language_model.get_config("size=nano"))}
    benchmark_steps_and_print(one, append=True, **words)
    assert [record["name"] for record in read_json(path)] == ["configs/bpe", "latent", "again"]
    assert "kind of work" not in capsys.readouterr().out


def test_a_damaged_file_is_refused_before_anything_is_measured(tmp_path):
    path = tmp_path / "steps.json"
    path.write_text("[{")
    configs = {"odd": tiny(language_model.get_config("size=nano"))}
    with pytest.raises(ValueError, match=r"steps\.json cannot be read as a list of records"):
        benchmark_steps_and_print(configs, n_steps=0, json_path=str(path), append=True)


def test_a_batch_that_does_not_divide_is_refused():
    config = tiny(language_model.get_config("size=nano"))
    config.batch_size = 3
    with pytest.raises(ValueError, match="a global batch of 3 rows does not divide"):
        next(benchmark_steps({"odd": config}))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(n_steps=0), "n_steps must be at least 1; got 0"),
        (dict(profile="nowhere", n_traced=-1), "profile must be at least 1, .*; got -1"),
    ],
)
def test_a_number_of_steps_that_makes_no_sense_is_refused_at_once(monkeypatch, words, message):
    monkeypatch.setattr(module, "compile_train_step", None)
    with pytest.raises(ValueError, match=message):
        next(benchmark_steps({"none": tiny(language_model.get_config("size=nano"))}, **words))
