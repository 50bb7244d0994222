"""cuDNN's attention as it stands in programs that are lowered for NVIDIA GPUs on a CPU."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from jax._src import lib
from jax._src.cudnn import fused_attention_stablehlo

from configs import latent_lm, m2
from latent_jax.costs import cudnn
from latent_jax.costs.cudnn import traceable_cudnn
from latent_jax.costs.kernels import PARTITIONED, kernels
from latent_jax.costs.lowering import assumed_vocabulary, lower
from latent_jax.costs.target import make_target
from latent_jax.layers.attention import attend
from latent_jax.models.bert import BERT, BERTConfig
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.platform import Platform

CUDA = Platform("cuda")
SHAPE = dict(max_length=128, n_layers=2, d_model=128, n_heads=2, dtype="bfloat16")
LEFT_OPEN = dict(attention_implementation="auto", scan_unroll=0)


def lowered_text(function, *arguments):
    with traceable_cudnn():
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def lowered_gradient(model, *arguments):
    """Return the text of a forward and backward pass for cuda, nothing drawn."""
    with traceable_cudnn():
        variables = jax.eval_shape(model.init, jax.random.key(0), *arguments)

    def loss(variables, *arguments):
        out = model.apply(variables, *arguments)
        return jnp.sum(out.astype(jnp.float32) ** 2)

    return lowered_text(jax.grad(loss), variables, *arguments)


def mask_types(text):
    """Return what each kernel masks, by cuDNN's own words."""
    return set(re.findall(r"mask_type\\22: \\22(\w+)\\22", text))


def ids(length=128):
    return jax.ShapeDtypeStruct((2, length), jnp.int32)


def test_gpt_calls_the_causal_kernel_once_a_layer_and_pass():
    text = lowered_gradient(
        GPT(GPTConfig(vocab_size=64, **SHAPE, **LEFT_OPEN).resolved(CUDA)), ids()
    )
    assert kernels(text) == {"__cudnn$fmhaSoftmax": 2, "__cudnn$fmhaSoftmaxBackward": 2}
    assert mask_types(text) == {"CAUSAL"}


def test_bert_hands_lengths_to_the_kernel():
    model = BERT(BERTConfig(vocab_size=64, **SHAPE, **LEFT_OPEN).resolved(CUDA))
    text = lowered_gradient(model, ids(), jax.ShapeDtypeStruct((2, 128), jnp.bool_))
    assert kernels(text) == {"__cudnn$fmhaSoftmax": 2, "__cudnn$fmhaSoftmaxBackward": 2}
    assert mask_types(text) == {"PADDING"}


def test_a_learned_bias_goes_to_the_kernel_with_a_bias():
    words = dict(positions="relative", vocab_size=64, **SHAPE, **LEFT_OPEN)
    text = lowered_gradient(GPT(GPTConfig(**words).resolved(CUDA)), ids())
    assert kernels(text) == {
        "__cudnn$fmhaScaleBiasSoftmax": 2,
        "__cudnn$fmhaScaleBiasSoftmaxBackward": 2,
    }
    assert mask_types(text) == {"CAUSAL"}


def test_rotary_positions_and_grouped_heads_keep_the_kernel():
    words = dict(positions="rotary", n_kv_heads=1, vocab_size=64, **SHAPE, **LEFT_OPEN)
    text = lowered_gradient(GPT(GPTConfig(**words).resolved(CUDA)), ids())
    assert kernels(text) == {"__cudnn$fmhaSoftmax": 2, "__cudnn$fmhaSoftmaxBackward": 2}


@pytest.mark.parametrize(
    ("words", "length"),
    [
        (dict(dtype="float32"), 128),
        (dict(n_heads=32), 128),  # heads of 4
        (dict(), 32),
        (dict(), 127),
        (dict(positions="relative"), 127),
        (dict(positions="relative", n_kv_heads=1), 128),
    ],
    ids=["float32", "narrow heads", "short", "odd", "odd with a bias", "grouped with a bias"],
)
def test_what_cudnn_does_not_serve_is_lowered_without_it(words, length):
    shape = {**SHAPE, **LEFT_OPEN, "n_layers": 1, **words}
    config = GPTConfig(vocab_size=64, **shape).resolved(CUDA)
    assert config.attention_implementation == "cudnn"
    assert not kernels(lowered_gradient(GPT(config), ids(length)))


def test_a_mask_of_keys_alone_is_what_cudnn_refuses():
    """The first run on a GPU gave BERT's key mask [B, 1, 1, S] to cuDNN as it was."""
    x = jax.ShapeDtypeStruct((2, 512, 12, 64), jnp.bfloat16)
    mask = jax.ShapeDtypeStruct((2, 512), jnp.bool_)

    def as_it_was(x, mask_BS):
        return jax.nn.dot_product_attention(
            x, x, x, mask=mask_BS[:, None, None], implementation="cudnn"
        )

    with pytest.raises(ValueError, match="Bias must have same seq length as QKV, got 1 and 512"):
        lowered_text(as_it_was, x, mask)
    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
    by_length = lowered_text(
        lambda x, n: attend(x, x, x, lengths_B=n, implementation="cudnn"), x, lengths
    )
    assert kernels(by_length) == {"__cudnn$fmhaSoftmax": 1}


@pytest.mark.parametrize("size", ["small", "base"])
def test_the_latent_models_of_the_first_gpu_run_lower(size):
    config = latent_lm.get_config(f"size={size}")
    config.autoencoder.n_layers, config.model.n_layers = 1, 2  # as wide, not as deep
    made = lower(config, assumed_vocabulary(config, 1.0), make_target("cuda"), ["train"])
    depth = 2 * config.autoencoder.n_layers + config.model.n_layers
    text = made.lowered["train"].as_text()
    assert kernels(text) == {
        "__cudnn$fmhaSoftmax": depth,
        "__cudnn$fmhaSoftmaxBackward": depth,
    }
    assert mask_types(text) == {"PADDING", "CAUSAL"}


def test_on_several_gpus_the_partitioner_places_the_kernels():
    config = m2.get_config("size=3m")
    config.batch_size = 8
    one, four = (
        kernels(
            lower(config, assumed_vocabulary(config, 1.0), make_target("cuda", n), ["evaluation"])
            .lowered["evaluation"]
            .as_text()
        )
        for n in (1, 4)
    )
    assert one == {"__cudnn$fmhaScaleBiasSoftmax": 3}
    assert four == {PARTITIONED: 3}


def test_the_stand_ins_answer_as_an_h100_and_go_again():
    before = {name: getattr(fused_attention_stablehlo, name) for name in cudnn.STAND_INS}
    with traceable_cudnn() as replaced:
        assert replaced
        assert fused_attention_stablehlo.check_compute_capability("9.0")
        assert not fused_attention_stablehlo.check_compute_capability("10.3")
        assert not fused_attention_stablehlo.is_cuda_compute_capability_equal("10.3")
    assert before == {name: getattr(fused_attention_stablehlo, name) for name in cudnn.STAND_INS}


def test_nothing_is_replaced_where_cudnn_is(monkeypatch):
    monkeypatch.setattr(lib, "cuda_versions", json)
    before = fused_attention_stablehlo.check_cudnn_version
    with traceable_cudnn() as replaced:
        assert not replaced
        assert fused_attention_stablehlo.check_cudnn_version is before
