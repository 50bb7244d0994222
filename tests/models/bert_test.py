import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.bert import BERT, BERTConfig

CONFIG = BERTConfig(vocab_size=19, max_length=12, n_layers=2, d_model=16, n_heads=2)
VECTORS_ONLY = dataclasses.replace(CONFIG, vocab_size=0)
IDS = jax.random.randint(jax.random.key(3), (2, 10), 0, 19)
VECTORS = jax.random.normal(jax.random.key(4), (2, 10, 16))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shapes_and_dtypes(dtype):
    for config, inputs in ((CONFIG, IDS), (VECTORS_ONLY, VECTORS)):
        model = BERT(dataclasses.replace(config, dtype=dtype))
        x, variables = jax.jit(model.init_with_output)(jax.random.key(0), inputs)
        chex.assert_shape(x, (2, 10, 16))
        assert x.dtype == jnp.dtype(dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_every_position_reads_every_position():
    variables = jax.jit(BERT(VECTORS_ONLY).init)(jax.random.key(0), VECTORS)
    direction = jax.random.normal(jax.random.key(5), (16,))
    jacobian = jax.jit(
        jax.jacobian(lambda x: BERT(VECTORS_ONLY).apply(variables, x)[0] @ direction)
    )(VECTORS[:1])
    assert (np.abs(jacobian[:, 0]).max(axis=-1) > 0).all()


@pytest.mark.parametrize("attention_implementation", ["tiled", "xla"])
def test_padding_has_no_influence(attention_implementation):
    config = dataclasses.replace(VECTORS_ONLY, attention_implementation=attention_implementation)
    # Weights of the size of trained ones: at initialization, attention hardly moves the stream.
    apply = jax.jit(BERT(config).apply)
    variables = jax.jit(BERT(config).init)(jax.random.key(0), VECTORS)
    variables = jax.tree.map(lambda x: 10.0 * x, variables)
    mask = jnp.arange(10)[None] < jnp.array([[10], [6]])
    other = jnp.where(mask[..., None], VECTORS, 100.0)
    first = apply(variables, VECTORS, mask)
    second = apply(variables, other, mask)
    chex.assert_trees_all_equal(first[mask], second[mask])
    unmasked = apply(variables, other)
    assert float(jnp.abs(unmasked - first)[1, :6].max()) > 1e-2, "the mask hides nothing"

    def real_positions(vectors):
        x = BERT(config).apply(variables, vectors, mask)
        return jnp.sum(jnp.where(mask[..., None], x**3, 0.0))

    gradient = jax.jit(jax.grad(real_positions))(VECTORS)
    assert not jnp.any(gradient[1, 6:])
    assert jnp.all(jnp.any(gradient[1, :6] != 0, axis=-1))


def test_a_row_of_padding_is_finite_and_so_is_its_gradient():
    variables = jax.jit(BERT(CONFIG).init)(jax.random.key(0), IDS)
    mask = jnp.array([[True] * 10, [False] * 10])

    def loss(variables):
        return jnp.sum(jnp.sin(BERT(CONFIG).apply(variables, IDS, mask)))

    chex.assert_tree_all_finite(jax.jit(jax.value_and_grad(loss))(variables))


def test_dropout_is_on_in_training_only():
    config = dataclasses.replace(CONFIG, dropout=0.3)
    variables = jax.jit(BERT(CONFIG).init)(jax.random.key(0), IDS)
    plain = jax.jit(BERT(CONFIG).apply)(variables, IDS)
    apply = jax.jit(BERT(config).apply, static_argnames="train")
    chex.assert_trees_all_equal(plain, apply(variables, IDS))
    dropped = apply(variables, IDS, train=True, rngs={"dropout": jax.random.key(0)})
    assert float(jnp.abs(plain - dropped).max()) > 1e-3


def test_ids_without_a_vocabulary_are_refused():
    with pytest.raises(ValueError, match=r"vocab_size 0 and reads vectors only"):
        BERT(VECTORS_ONLY).init(jax.random.key(0), IDS)
    with pytest.raises(ValueError, match=r"13 positions, the model 12"):
        BERT(VECTORS_ONLY).init(jax.random.key(0), jnp.ones((1, 13, 16)))


def test_flops_are_those_of_a_gpt_without_its_head():
    flops = CONFIG.forward_flops(10)
    assert flops == VECTORS_ONLY.forward_flops(10)
    assert sorted(flops) == ["attention", "embedding", "feed_forward"]
    assert flops["attention"] == 2.0 * (8 * 16**2 + 4 * 10 * 16)
