"""Every config lowers to StableHLO for NVIDIA GPUs and for TPUs; nothing is computed."""

import jax
import pytest
from ml_collections import ConfigDict

from configs import m2
from latent_jax.costs.kernels import kernels
from latent_jax.costs.lowering import (
    assumed_vocabulary,
    count_flops,
    ledger_flops,
    lower,
)
from latent_jax.costs.target import Target, make_target
from latent_jax.platform import MAX_UNROLLED, Platform, chip
from tests.configs.configs_test import CONFIGS
from tests.costs.targets import FAMILIES, small

METHODS = (
    "BPE[v=4096]",
    "SentencePiece[v=32000]",
    "GZip[v=256]",
    "StaticAC[v=256]",
    "AC[v=65k]",
    "EqualInfoAC[b=16,v=65k]",
    "Latent[conv1d,c=2,k=512]",
)
ALL = {
    **CONFIGS,
    **{f"m2:{size}": m2.get_config(f"size={size}") for size in m2.SHAPES},
    **{f"m2:100k,{method}": m2.get_config(f"size=100k,method={method}") for method in METHODS},
}

OFTEN = {
    # name: the platforms for which it is lowered in every run of the tests; the rest is slow
    "latent_lm:nano,ssm,2": ("cuda",),
    "latent_lm:micro,attention_pool,4": ("tpu",),
    "latent_lm:mini,linear_merge,8": ("cuda",),
    "latent_lm:small,sequence_linear,2": ("tpu",),
    "latent_lm:base,conv1d,4": ("tpu",),
    "latent_lm:fsq": ("cuda",),
    "latent_lm:none": ("tpu",),
    "language_model:base,BPE[v=4096]": ("cuda", "tpu"),
    "m1:3m,adafactor,4": ("cuda",),
    "m2:100k,AC[v=65k]": ("cuda",),
    "m2:100k,EqualInfoAC[b=16,v=65k]": ("tpu",),
    "m2:113m": ("cuda",),
    "m2:2b": ("tpu",),
}


def target(kind):
    """Return one device of a platform; a CPU device stands for it, as nothing is compiled."""
    name = {"cuda": "H100", "tpu": "TPU v5e"}[kind]
    return Target(kind, Platform(kind), (jax.devices()[0],), chip(name), False)


def check(name, kind):
    config = ALL[name]
    vocabulary = assumed_vocabulary(config, 4.0)
    made = lower(config, vocabulary, target(kind))
    for program in ("train", "evaluation"):
        text = made.lowered[program].as_text()
        called = kernels(text)
        assert "func.func public @main" in text
        model = made.config.model
        n_keys = made.config.row_length // (2 if "Latent" in config.method else 1)
        if kind == "tpu":
            splash = model.positions == "learned" and n_keys % 128 == 0
            assert set(called) == ({"tpu_custom_call"} if splash else set())
        served = model.d_model // model.n_heads % 8 == 0 and n_keys >= 64 and n_keys % 2 == 0
        if kind == "cuda" and served:
            assert any("fmha" in kernel for kernel in called), "cuDNN is not called"
    assert made.argument_bytes["train"] > made.argument_bytes["evaluation"]


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kinds in OFTEN.items() for kind in kinds]
)
def test_it_lowers(name, kind):
    check(name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ALL)
def test_every_config_lowers(name, kind):
    check(name, kind)


def test_a_stack_deeper_than_what_is_unrolled_stays_a_loop():
    config = m2.get_config("size=403m")
    assert config.model.n_layers > MAX_UNROLLED["cuda"]
    one = make_target("cuda")
    called = kernels(
        lower(config, assumed_vocabulary(config, 1.0), one, ["evaluation"])
        .lowered["evaluation"]
        .as_text()
    )
    assert called == {"__cudnn$fmhaScaleBiasSoftmax": 1}, "its body stands once"
    config.model.n_layers = MAX_UNROLLED["cuda"]
    called = kernels(
        lower(config, assumed_vocabulary(config, 1.0), one, ["evaluation"])
        .lowered["evaluation"]
        .as_text()
    )
    assert called == {"__cudnn$fmhaScaleBiasSoftmax": MAX_UNROLLED["cuda"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ledger_agrees_with_xla(family):
    config = small(family)
    # In a narrow model element-wise operations, which XLA counts too, are more than 2 %.
    for section in (config.model, config.autoencoder):
        section.update(d_model=512, n_heads=8)
    vocabulary = assumed_vocabulary(config, 1.0)
    made = lower(config, vocabulary, target("tpu"), [])
    xla = count_flops(made.config, vocabulary, ["train"])
    ours = ledger_flops(made.task, made.config, vocabulary)
    assert xla["train"] == pytest.approx(ours["train"], rel=0.02)


def test_the_count_does_not_depend_on_loops_kernels_or_the_target():
    config = small("gpt")
    vocabulary = assumed_vocabulary(config, 1.0)
    counted = count_flops(config, vocabulary)
    changed = ConfigDict(config.to_dict())
    changed.model.update(attention_implementation="cudnn", scan_unroll=1, remat="block")
    changed.training.update(accumulation=2, strategy="tensor", model_parallel=2)
    changed.head = "blocks"
    assert count_flops(changed, vocabulary) == counted
    assert counted["train"] > 2.5 * counted["evaluation"]
