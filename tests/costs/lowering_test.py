"""Every family lowers to StableHLO for NVIDIA GPUs and for TPUs; nothing is computed.

Depth and width change no path of tracing, so families are lowered with few layers; that every
config lowers as it is takes minutes and is a slow test.
"""

import itertools

import jax
import pytest
from ml_collections import ConfigDict

from configs import common, m2
from latent_jax.costs.kernels import kernels
from latent_jax.costs.lowering import (
    PROGRAMS,
    assumed_vocabulary,
    count_flops,
    ledger_flops,
    lower,
)
from latent_jax.costs.target import Target, make_target
from latent_jax.methods.tasks import make_task
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


def target(kind):
    """Return one device of a platform; a CPU device stands for it, as nothing is compiled."""
    name = {"cuda": "H100", "tpu": "TPU v5e"}[kind]
    return Target(kind, Platform(kind), (jax.devices()[0],), chip(name), False)


def check(config, kind, programs=PROGRAMS):
    vocabulary = assumed_vocabulary(config, 4.0)
    made = lower(config, vocabulary, target(kind), programs)
    for program in programs:
        text = made.lowered[program].as_text()
        called = kernels(text)
        assert "func.func public @main" in text
        model = made.config.model
        n_keys = made.config.row_length // (2 if "Latent" in config.method else 1)
        if kind == "tpu":
            lengths = [n for _, n in make_task(made.config, vocabulary).stacks]
            splash = model.positions != "relative" and any(n % 128 == 0 for n in lengths)
            assert set(called) == ({"tpu_custom_call"} if splash else set())
        served = model.d_model // model.n_heads % 8 == 0 and n_keys >= 64 and n_keys % 2 == 0
        if kind == "cuda" and served:
            assert any("fmha" in kernel for kernel in called), "cuDNN is not called"
    assert made.argument_bytes["train"] > made.argument_bytes["evaluation"]


def shallow(config, n_layers):
    for section in (config.model, config.autoencoder):
        section.update(n_layers=n_layers, remat="none")  # what small models get from "auto"
    return config


@pytest.mark.parametrize("kind", ["cuda", "tpu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_lowers(family, kind):
    # Both programs for both platforms where attention differs, and elsewhere each program once.
    programs = PROGRAMS
    if family not in ("gpt", "relative", "conv1d"):
        is_first = kind == ("cuda", "tpu")[[*FAMILIES].index(family) % 2]
        programs = ["train" if is_first else "evaluation"]
    check(shallow(small(family, row_length=256), 1), kind, programs)


@pytest.mark.parametrize(
    ("size", "method", "kind"),
    list(zip(m2.SHAPES, (*METHODS, "Bytes"), itertools.cycle(["cuda", "tpu"]), strict=False)),
)
def test_m2_lowers_at_every_size_and_with_every_method(size, method, kind):
    check(shallow(m2.get_config(f"size={size},method={method}"), 1), kind, ["evaluation"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ALL)
def test_every_config_lowers(name, kind):
    check(ALL[name], kind)


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
    config = shallow(small(family), 1)
    # In a narrow model element-wise operations, which XLA counts too, are more than 2 %.
    for section in (config.model, config.autoencoder):
        section.update(d_model=512, n_heads=8)
    vocabulary = assumed_vocabulary(config, 1.0)
    xla = count_flops(config, vocabulary, ["train"])
    ours = ledger_flops(make_task(config, vocabulary, Platform("tpu")), config, vocabulary)
    assert xla["train"] == pytest.approx(ours["train"], rel=0.02)


def test_the_count_does_not_depend_on_loops_kernels_or_the_target():
    config = shallow(small("gpt"), 2)
    vocabulary = assumed_vocabulary(config, 1.0)
    counted = count_flops(config, vocabulary)
    changed = ConfigDict(config.to_dict())
    changed.model.update(attention_implementation="cudnn", scan_unroll=1, remat="block")
    changed.training.update(accumulation=2, strategy="tensor", model_parallel=2)
    changed.head = "blocks"
    assert count_flops(changed, vocabulary) == counted
    assert counted["train"] > 2.5 * counted["evaluation"]


def test_only_raw_bytes_are_one_byte_each():
    config, ratios = common.default(), []
    for config.method in ("Bytes", "AC[v=256]", "Latent[conv1d,c=2,k=512]", "BPE[v=257]"):
        ratios.append(assumed_vocabulary(config, 3.0).bytes_per_token)
    assert ratios == [1.0, 3.0, 1.0, 3.0]
