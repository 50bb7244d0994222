"""Qwen2 and Llama of random weights: logits equal those of transformers.

tests/golden/{qwen2,llama}/ hold the models as `save_pretrained` of transformers wrote them, in
bfloat16, and the logits that it computed from them in float32. Biases and scales of norms are
random, because a reader that dropped them would pass with the zeros and ones of a new model. Where
transformers is installed, a test makes all of it anew; `python -m tests.models.parity_test` writes
it.
"""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models import safetensors
from latent_jax.models.gpt import GPT
from latent_jax.models.pretrained import open_pretrained

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 2e-5
SHARED = dict(
    vocab_size=61,
    num_hidden_layers=2,
    max_position_embeddings=64,
    intermediate_size=96,
    tie_word_embeddings=True,
    hidden_act="silu",
    bos_token_id=0,
    eos_token_id=0,
)
MODELS = {
    "qwen2": dict(
        SHARED,
        hidden_size=56,
        num_attention_heads=14,
        num_key_value_heads=2,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    ),
    "llama": dict(
        SHARED,
        hidden_size=72,
        num_attention_heads=9,
        num_key_value_heads=3,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
    ),
}
"""Heads and options of Qwen2-0.5B and SmolLM2-135M, narrower."""
IDS = np.random.default_rng(7).integers(0, 61, (2, 48)).astype(np.int32)


def build(kind, folder):
    """Save a model of transformers with random weights; return its logits of `IDS`, float32."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, **MODELS[kind])
    ).eval()
    random = np.random.default_rng(0)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            mean, deviation = 0.0, 0.08
            if name.endswith("bias"):
                deviation = 0.3
            elif name.endswith("norm.weight"):
                mean, deviation = 1.0, 0.3
            values = random.normal(mean, deviation, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values).bfloat16())
        logits = model(torch.from_numpy(IDS).long()).logits.numpy()
    model.bfloat16().save_pretrained(folder)
    return logits


def logits_of(config, params):
    return jax.jit(GPT(config).apply)({"params": params}, jnp.asarray(IDS))


@pytest.fixture(scope="module", params=MODELS)
def golden(request):
    """Return the model, its parameters and the logits of transformers."""
    folder = GOLDEN / request.param
    model = open_pretrained(folder)
    return model, model.params(), np.load(folder / "logits.npy")


def test_logits_are_those_of_transformers(golden):
    model, params, expected = golden
    assert 0.5 < expected.std() < 5.0
    found = logits_of(model.config, params)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)
    assert (np.argmax(found, -1) == np.argmax(expected, -1)).all()


def test_the_config_is_read_whole(golden):
    model, _, _ = golden
    is_qwen2 = model.words["model_type"] == "qwen2"
    assert model.config.qkv_bias == is_qwen2 and not model.config.use_bias
    assert model.config.norm_epsilon == (1e-6 if is_qwen2 else 1e-5)
    assert model.config.rope_theta == (1e6 if is_qwen2 else 1e5)
    assert (model.config.n_heads, model.config.n_kv_heads) == ((14, 2) if is_qwen2 else (9, 3))


@pytest.mark.parametrize(
    ("words", "least"), [({"rope_theta": 1e4}, 1e-2), ({"norm_epsilon": 1e-4}, 5e-4)], ids=str
)
def test_a_wrong_word_fails_by_far(golden, words, least):
    model, params, expected = golden
    found = logits_of(dataclasses.replace(model.config, **words), params)
    assert np.abs(found - expected).max() > least > 20 * TOLERANCE


def test_the_epsilon_of_the_other_one_fails_by_far(golden):
    model, params, expected = golden
    other = 1e-5 + 1e-6 - model.config.norm_epsilon
    found = logits_of(dataclasses.replace(model.config, norm_epsilon=other), params)
    assert np.abs(found - expected).max() > 5 * TOLERANCE


def test_weights_that_are_dropped_fail_by_far(golden):
    model, params, expected = golden

    def without(kept, value):
        def drop(path, leaf):
            is_it = jax.tree_util.keystr(path[-1:], simple=True) == kept
            return np.full_like(leaf, value) if is_it else leaf

        return jax.tree_util.tree_map_with_path(drop, params)

    dropped = {"scale": without("scale", 1.0)}
    if model.config.qkv_bias:
        dropped["bias"] = without("bias", 0.0)
    for name, params in dropped.items():
        difference = np.abs(logits_of(model.config, params) - expected).max()
        assert difference > 1000 * TOLERANCE, name


@pytest.mark.parametrize("kind", MODELS)
def test_transformers_makes_the_same_files(kind, tmp_path):
    pytest.importorskip("transformers", reason="needs the extra 'benchmark'")
    pytest.importorskip("torch", reason="needs the extra 'benchmark'")
    logits = build(kind, tmp_path)
    np.testing.assert_allclose(np.load(GOLDEN / kind / "logits.npy"), logits, atol=TOLERANCE)
    ours, theirs = (
        safetensors.read(folder / "model.safetensors") for folder in (GOLDEN / kind, tmp_path)
    )
    assert ours.keys() == theirs.keys() and "lm_head.weight" not in ours
    for name, x in theirs.items():
        np.testing.assert_array_equal(ours[name], x)
    words = json.loads((tmp_path / "config.json").read_text())
    golden = json.loads((GOLDEN / kind / "config.json").read_text())
    for key in MODELS[kind]:
        assert words.get(key) == golden.get(key), key


def test_the_files_are_small():
    for kind in MODELS:
        assert sum(path.stat().st_size for path in (GOLDEN / kind).iterdir()) < 200_000


def write():
    """Make the files of tests/golden anew."""
    for kind in MODELS:
        with tempfile.TemporaryDirectory() as made:
            logits = build(kind, made)
            (GOLDEN / kind).mkdir(exist_ok=True)
            for name in ("config.json", "model.safetensors"):
                shutil.copy(Path(made) / name, GOLDEN / kind / name)
            np.save(GOLDEN / kind / "logits.npy", logits)


if __name__ == "__main__":
    write()
