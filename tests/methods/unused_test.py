"""What is set and not read is said, and what is said to be unread has no effect."""

import dataclasses
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import pytest

from configs import common, language_model, latent_lm
from latent_jax.chunking.fixed.registry import compressors, options_of
from latent_jax.experiments import study
from latent_jax.methods.unused import of_run, unused_options
from latent_jax.quantizers import QUANTIZERS, QuantizerConfig, make_quantizer, rvq, vq
from latent_jax.quantizers.base import kinds_that_read

OTHER = {
    "temperature": 0.7,
    "code_dim": 4,
    "metric": "euclidean",
    "gradient": "rotation",
    "commitment_weight": 3.0,
    "codebook_update": "learned",
    "ema_decay": 0.2,
    "kmeans_iterations": 1,
    "kmeans_latents": 9,
    "restart_threshold": 0.7,
    "restart_period": 1,
    "n_codebooks": 3,
    "fsq_levels": (2, 32),
}
"""Another value of each option than its default."""

OPTIONS = [
    field.name
    for field in dataclasses.fields(QuantizerConfig)
    if field.name not in ("kind", "codebook_size", "d_model")
]


def outcome(kind, **words):
    """Return all that a quantizer gives for some latents, its state after two steps included."""
    config = QuantizerConfig(
        kind=kind, codebook_size=0 if kind == "none" else 64, d_model=24, **words
    )
    module = make_quantizer(config)
    z_BKD, mask_BK = jax.random.normal(jax.random.key(0), (3, 40, 24)), jnp.ones((3, 40), bool)
    rngs = {"params": jax.random.key(1), "quantizer": jax.random.key(2)}
    found = []
    variables = module.init(rngs, z_BKD, mask_BK)
    for _ in range(2):
        quantized, state = module.apply(
            variables, z_BKD, mask_BK, train=True, rngs=rngs, mutable=["codebook"]
        )
        variables = {**variables, **state}
        found.append((quantized, variables))
    if kind != "none":
        found.append(module.apply(variables, z_BKD, method="log_assignment"))
    return found


@pytest.mark.parametrize("kind", ["none", "fsq", "vq"])
def test_options_that_a_quantizer_is_said_not_to_read_have_no_effect(kind):
    assert sorted(OTHER) == sorted(OPTIONS)
    unread = {name: OTHER[name] for name in OPTIONS if kind not in kinds_that_read(name)}
    assert unread
    chex.assert_trees_all_equal(outcome(kind, **unread), outcome(kind))


def test_options_of_codebooks_are_read_by_them():
    both = inspect.getsource(vq)
    for name in OPTIONS:
        pattern = rf"\b(c|config)\.{name}\b"
        assert ("vq" in kinds_that_read(name)) == bool(re.search(pattern, both)), name
    assert "stage_sizes" in inspect.getsource(rvq) and "n_codebooks" in inspect.getsource(
        QuantizerConfig.stage_sizes.fget
    )
    assert {kind for name in OPTIONS for kind in kinds_that_read(name)} == {*QUANTIZERS} - {"none"}


def test_every_option_of_a_compressor_is_said_where_another_one_is_chosen():
    for kind, cls in compressors().items():
        config = latent_lm.get_config(f"size=nano,compressor={kind},codes=16")
        own = {f"compressor.{name}": 1 for name in options_of(cls)}
        assert unused_options(config, own) == []
        others = {
            f"compressor.{name}": 7
            for other in compressors().values()
            for name in options_of(other)
            if name not in options_of(cls)
        }
        lines = unused_options(config, others)
        assert len(lines) == len(others)
        for key, line in zip(others, lines, strict=True):
            assert line.startswith(f"{key}=7 has no effect: ")
            assert f"and the compressor of {config.method} is {kind}" in line


def test_what_is_said_of_quantizers_and_of_methods_without_one():
    config = latent_lm.get_config("size=nano,codes=16")
    changed = {"quantizer.n_codebooks": 4, "quantizer.code_dim": 8, "latent.beta": 0.5}
    assert unused_options(config, changed) == [
        "quantizer.n_codebooks=4 has no effect: rvq would read it, and the quantizer of "
        f"{config.method} is vq"
    ]
    assert unused_options(common.default(), {"quantizer.temperature": 1.0}) == [
        "quantizer.temperature=1.0 has no effect: vq or rvq or fsq would read it, and Bytes has "
        "no quantizer"
    ]


def test_a_run_says_it_at_its_start(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(study, "run", lambda *_, **__: {})
    monkeypatch.setattr(study, "prepare", lambda *_: None)
    monkeypatch.setattr(study, "write_comparison", lambda *_: None)
    monkeypatch.setattr(study, "_print_table", lambda *_: None)
    config = common.default()
    runs = {"one": latent_lm.get_config("size=nano,codes=16")}
    runs["two"] = language_model.get_config("size=nano")
    changed = {"runs.one.quantizer.n_codebooks": 4, "runs.one.seed": 1}
    assert of_run(changed, "one") == {"quantizer.n_codebooks": 4, "seed": 1}
    config.runs = runs
    study.run_config(config, tmp_path, changed)
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "quantizer.n_codebooks=4 has no effect: rvq would read it, and the quantizer of "
        f"{runs['one'].method} is vq"
    ]
