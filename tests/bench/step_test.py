import pytest

from configs import hnet, language_model
from latent_jax.bench import step as module
from latent_jax.bench.step import benchmark_step, benchmark_step_and_print
from latent_jax.reports.tables import read_table


def tiny(config):
    config.row_length, config.batch_size = 16, 8
    config.model.update(d_model=32, n_layers=1, n_heads=2)
    return config


def test_a_step_is_timed_and_traced(tmp_path, capsys):
    path = tmp_path / "steps.json"
    for name, config in (
        ("bpe", language_model.get_config("method=BPE[v=300],size=nano")),
        ("bytes", language_model.get_config("size=nano")),
    ):
        benchmark_step_and_print(
            tiny(config),
            name=name,
            n_steps=2,
            profile=tmp_path / name if name == "bpe" else None,
            json_path=str(path),
            append=True,
        )
    printed = capsys.readouterr().out
    # Where another test of this process has loaded libtpu, the trace holds no CPU, which is said.
    assert "kind of work" in printed or "the trace cannot be summed up: no device" in printed
    assert list((tmp_path / "bpe").rglob("*.xplane.pb")) and not (tmp_path / "bytes").exists()
    bpe, of_bytes = read_table(path)
    assert (bpe["name"], bpe["method"]) == ("bpe", "BPE[v=300]") and of_bytes["name"] == "bytes"
    for record in (bpe, of_bytes):
        assert record["step_ms"] > 0 and record["compile_seconds"] > 0
        assert record["tokens_per_s"] * record["step_ms"] == pytest.approx(1e3 * 8 * 16)
        # A CPU has no peak that is known.
        assert record["model_flops_utilization"] is None and record["device_count"] == 8
    # 4 bytes are assumed for an id of BPE, and 1 for a byte.
    assert bpe["bytes_per_s"] == pytest.approx(4 * bpe["tokens_per_s"])
    assert of_bytes["bytes_per_s"] == pytest.approx(of_bytes["tokens_per_s"])


def test_every_run_of_a_config_file_is_timed(tmp_path, monkeypatch, capsys):
    others = {column if isinstance(column, str) else column.key for column in module.COLUMNS}
    numbers = dict.fromkeys(sorted(others - {"name"}), 1.0)
    monkeypatch.setattr(
        module,
        "benchmark_step",
        lambda config, name, n_steps: numbers | {"name": name, "method": config.method},
    )
    path = tmp_path / "steps.json"
    config = hnet.get_config()
    benchmark_step_and_print(config, name="hnet.py", n_steps=3, json_path=str(path))
    assert [(record["name"], record["method"]) for record in read_table(path)] == [
        ("hnet.py, bytes", "Bytes"),
        ("hnet.py, hnet", "HNet[n=4]"),
    ]
    assert "hnet.py, bytes" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"one run, and hnet\.py has bytes, hnet: leave"):
        benchmark_step_and_print(config, name="hnet.py", n_steps=3, profile=tmp_path / "trace")


def test_a_damaged_file_is_refused_before_anything_is_measured(tmp_path):
    path = tmp_path / "steps.json"
    path.write_text("[{")
    config = tiny(language_model.get_config("size=nano"))
    with pytest.raises(ValueError, match=r"steps\.json cannot be read as a list of records"):
        benchmark_step_and_print(config, name="odd", n_steps=0, json_path=str(path), append=True)


def test_a_batch_that_does_not_divide_is_refused():
    config = tiny(language_model.get_config("size=nano"))
    config.batch_size = 3
    with pytest.raises(ValueError, match="a global batch of 3 rows does not divide"):
        benchmark_step(config, name="odd")


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
        benchmark_step(tiny(language_model.get_config("size=nano")), name="none", **words)
