"""Parameters under Hugging Face's names and back; logits equal those of transformers."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.hugging_face import from_hugging_face, to_hugging_face
from tests.compiled import init

GPT2 = GPTConfig(vocab_size=31, max_length=12, n_layers=2, d_model=24, n_heads=3, d_ff=40)
LLAMA = dataclasses.replace(
    GPT2,
    n_heads=6,
    n_kv_heads=2,
    positions="rotary",
    rope_theta=500.0,
    norm="rms",
    gated=True,
    activation="silu",
    use_bias=False,
)
QWEN2 = dataclasses.replace(LLAMA, qkv_bias=True, norm_epsilon=1e-6)
CONFIGS = {
    "gpt2": GPT2,
    "gpt2 with relu": dataclasses.replace(GPT2, activation="relu", d_ff=0),
    "llama": LLAMA,
    "llama with biases": dataclasses.replace(LLAMA, use_bias=True, activation="gelu"),
    "llama of whole heads": dataclasses.replace(LLAMA, n_kv_heads=0),
    "llama with another epsilon": dataclasses.replace(LLAMA, norm_epsilon=1e-2),
    "gpt2 with another epsilon": dataclasses.replace(GPT2, norm_epsilon=1e-2),
    "qwen2": QWEN2,
    "qwen2 of whole heads": dataclasses.replace(QWEN2, n_kv_heads=0),
}
IDS = np.random.default_rng(0).integers(0, 31, (2, 11)).astype(np.int32)


def make(config):
    """Return parameters of which none is at its initial constant."""
    params = init(GPT(config), jax.random.key(0), IDS)["params"]
    random = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: np.asarray(x) + 0.1 * random.standard_normal(x.shape).astype(np.float32), params
    )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_there_and_back_is_the_same_network(config):
    params = make(config)
    words, tensors = to_hugging_face(config, params, separator_id=30)
    assert words["eos_token_id"] == 30
    assert all(x.dtype == np.float32 for x in tensors.values())
    assert sum(x.size for x in tensors.values()) == sum(x.size for x in jax.tree.leaves(params))
    found, back = from_hugging_face(words, tensors)
    assert found == config
    chex.assert_trees_all_equal(back, params)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_transformers_computes_the_same_logits(config):
    pytest.importorskip("transformers", reason="needs the extra 'benchmark'")
    import torch

    from latent_jax.bench.huggingface_gpt import to_transformers

    params = make(config)
    ours = GPT(config).apply({"params": params}, jnp.asarray(IDS))
    with torch.inference_mode():
        theirs = to_transformers(config, params)(torch.from_numpy(IDS).long()).logits.numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert np.abs(theirs[:, 1:] - theirs[:, :-1]).max() > 0.1, "the logits say nothing"


@pytest.mark.parametrize(
    "words",
    [
        {"positions": "relative"},
        {"positions": "rotary"},
        {"norm": "rms"},
        {"gated": True},
        {"use_bias": False},
        {"n_kv_heads": 1},
    ],
)
def test_a_network_that_transformers_does_not_have_is_refused(words):
    config = dataclasses.replace(GPT2, d_model=12, **words)
    with pytest.raises(ValueError, match=r"transformers has no model with .*gpt2 has .*llama has"):
        to_hugging_face(config, {})


def test_files_of_others_have_other_names_for_the_same():
    """GPT-2's own file: no prefix, masks beside the weights, no n_inner; a head that is tied."""
    config = dataclasses.replace(GPT2, d_ff=0)
    params = make(config)
    words, tensors = to_hugging_face(config, params)
    mask = np.tril(np.ones((1, 1, 12, 12), np.float32))
    theirs = {
        name.removeprefix("transformer."): x.astype(np.float16) for name, x in tensors.items()
    }
    theirs |= {
        "h.0.attn.bias": mask,
        "h.1.attn.masked_bias": mask,
        "lm_head.weight": theirs["wte.weight"],
    }
    found, back = from_hugging_face({**words, "n_inner": None}, theirs)
    assert found == config
    chex.assert_trees_all_close(back, params, atol=2e-3)
    theirs["lm_head.weight"] = theirs["lm_head.weight"] + 1
    with pytest.raises(ValueError, match=r"lm_head\.weight is not the embedding table"):
        from_hugging_face(words, theirs)


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        (
            GPT2,
            {"model_type": "mamba"},
            "model_type 'mamba' is no network of latent_jax; gpt2, llama, qwen2 are",
        ),
        (GPT2, {"model_type": ["gpt2"]}, "is no network of latent_jax"),
        (GPT2, {"layer_norm_epsilon": 0.0}, "norm_epsilon must be more than 0"),
        (GPT2, {"n_embd": "24"}, "n_embd|d_model must be a whole number"),
        (LLAMA, {"hidden_size": None}, "has a value that no network has"),
        (LLAMA, {"num_attention_heads": 0}, "has a value that no network has"),
        (QWEN2, {"use_sliding_window": True}, "use_sliding_window=True in a qwen2"),
        (QWEN2, {"tie_word_embeddings": False}, "tie_word_embeddings=False in a qwen2"),
        (QWEN2, {"rope_scaling": {"type": "yarn"}}, "rope_scaling=.*yarn.* in a qwen2"),
        (QWEN2, {"model_type": "llama"}, r"the tensor .*\.bias is not known"),
        (LLAMA, {"model_type": "qwen2"}, r"the tensor .*\.bias is missing"),
        (GPT2, {"scale_attn_weights": False}, "scale_attn_weights=False"),
        (GPT2, {"activation_function": "swish"}, "activation_function='swish' is not known"),
        (GPT2, {"n_embd": 48}, r"the tensor .* is \[.*\]; by its config.json it would be \[.*48"),
        (GPT2, {"n_layer": 3}, "the tensor transformer.h.2.* is missing"),
        (GPT2, {"n_layer": 1}, "the tensor transformer.h.1.* is not known"),
        (LLAMA, {"tie_word_embeddings": False}, "tie_word_embeddings=False in a llama"),
        (LLAMA, {"rope_scaling": {"rope_type": "llama3"}}, "rope_scaling=.*llama3"),
        (LLAMA, {"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        (LLAMA, {"head_dim": 8}, "head_dim=8 in a llama"),
        (LLAMA, {"attention_bias": True}, "mlp_bias=False in a llama"),
    ],
)
def test_what_is_no_network_of_ours_is_refused(config, words, message):
    theirs, tensors = to_hugging_face(config, make(config))
    with pytest.raises(ValueError, match=message):
        from_hugging_face({**theirs, **words}, tensors)


def test_a_config_that_lacks_a_word_is_named():
    with pytest.raises(ValueError, match=r"the config\.json of this gpt2 lacks 'n_positions'"):
        from_hugging_face({"model_type": "gpt2"}, {})


def test_what_their_config_leaves_out_is_their_default():
    """transformers drops keys that have their defaults from the file, the epsilon among them."""
    for config, key in ((GPT2, "layer_norm_epsilon"), (LLAMA, "rms_norm_eps")):
        words, tensors = to_hugging_face(config, make(config))
        del words[key]
        found, _ = from_hugging_face(words, tensors)
        assert found.norm_epsilon == {"layer_norm_epsilon": 1e-5, "rms_norm_eps": 1e-6}[key]
