import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from latent_jax.layers.block import Stack, by_layer, map_blocks, stacked
from latent_jax.models.gpt import GPTConfig

CONFIG = GPTConfig(vocab_size=8, max_length=16, n_layers=3, d_model=16, n_heads=2, dropout=0.2)


def _loss(config, train=True):
    x = jax.random.normal(jax.random.key(1), (2, 9, 16))
    stack = Stack(config, causal=True)
    variables = stack.init(jax.random.key(0), x)

    def loss(variables):
        y, _ = stack.apply(variables, x, train=train, rngs={"dropout": jax.random.key(2)})
        return jnp.sum(jnp.sin(y))

    return loss, variables


def _dots(jaxpr):
    """Count matmuls in a jaxpr and everything inside it."""
    return str(jaxpr).count("dot_general")


@pytest.mark.parametrize("scan_unroll", [1, 3])
def test_remat_computes_the_same_and_computes_again(scan_unroll):
    results, jaxprs = {}, {}
    for remat in ("none", "block", "dots"):
        config = dataclasses.replace(CONFIG, remat=remat, scan_unroll=scan_unroll)
        loss, variables = _loss(config)
        results[remat] = jax.jit(jax.value_and_grad(loss))(variables)
        jaxprs[remat] = jax.make_jaxpr(jax.grad(loss))(variables)
    chex.assert_trees_all_close(results["none"], results["block"], rtol=2e-5, atol=1e-5)
    chex.assert_trees_all_close(results["none"], results["dots"], rtol=2e-5, atol=1e-5)
    # "dots" keeps the results of weight matmuls and computes only attention's again.
    assert _dots(jaxprs["none"]) < _dots(jaxprs["dots"]) < _dots(jaxprs["block"])


@pytest.mark.parametrize("remat", ["none", "block"])
def test_scan_and_unrolled_stack_agree(remat):
    scanned = dataclasses.replace(CONFIG, remat=remat, scan_unroll=1)
    unrolled = dataclasses.replace(scanned, scan_unroll=3)
    results, has_loop = [], []
    for config in (scanned, unrolled):
        loss, variables = _loss(config)
        step = jax.jit(jax.value_and_grad(loss))
        results.append(step(variables))
        # Random numbers are drawn in loops of their own: look without dropout.
        loss, variables = _loss(config, train=False)
        text = jax.jit(jax.grad(loss)).lower(variables).compile().as_text()
        has_loop.append(" while(" in text)
    chex.assert_trees_all_close(*results, rtol=2e-5, atol=1e-5)
    assert has_loop == [True, False]


def test_the_compiler_does_not_undo_remat_in_an_unrolled_stack():
    def count(operation, remat):
        config = dataclasses.replace(CONFIG, dropout=0.0, remat=remat, scan_unroll=3)
        loss, variables = _loss(config)
        text = jax.jit(jax.grad(loss)).lower(variables).compile().as_text()
        return text.count(f" {operation}(")

    assert count("dot", "block") > count("dot", "none")
    # The activation is always computed again, from its input.
    assert count("tanh", "none") >= 2 * CONFIG.n_layers


def test_what_is_kept_for_the_backward_pass_is_what_matmuls_read():
    """No float32 copies of the stream: the norms keep their input, the activation its own."""
    words = dict(dropout=0.0, dtype="bfloat16", attention_implementation="recomputed")
    config = dataclasses.replace(CONFIG, **words)
    stack, x = Stack(config, causal=True), jnp.zeros((2, 16, 16), jnp.bfloat16)
    variables = stack.init(jax.random.key(0), x)

    def residuals(variables, x):
        return jax.vjp(lambda *args: stack.apply(*args)[0], variables, x)[1]

    kept = jax.tree.leaves(jax.eval_shape(residuals, variables, x))
    of_stream = [leaf for leaf in kept if leaf.size >= 3 * 2 * 16 * 16]
    assert {leaf.dtype for leaf in of_stream} == {jnp.dtype("bfloat16")}
    wide = [leaf for leaf in of_stream if leaf.size == 3 * 2 * 16 * 64]
    assert len(wide) == 2, "the hidden layer before and after its activation"


def test_a_depth_that_is_left_to_the_platform_must_be_settled_before():
    with pytest.raises(ValueError, match=r"call config\.resolved first"):
        _loss(dataclasses.replace(CONFIG, scan_unroll=0))


def test_dropout_is_on_in_training_only():
    (trained, variables), (evaluated, _) = _loss(CONFIG), _loss(CONFIG, train=False)
    without, _ = _loss(dataclasses.replace(CONFIG, dropout=0.0))
    chex.assert_trees_all_close(evaluated(variables), without(variables))
    assert abs(float(trained(variables) - evaluated(variables))) > 1e-3


def test_layers_draw_their_own_parameters_and_dropout():
    x = jnp.ones((1, 4, 16))
    stack = Stack(CONFIG, causal=True)
    variables = stack.init(jax.random.key(0), x)
    kernel = variables["params"]["blocks"]["feed_forward"]["up"]["kernel"]
    chex.assert_shape(kernel, (3, 16, 64))
    assert float(jnp.abs(kernel[0] - kernel[1]).max()) > 1e-3


def test_blocks_come_by_layer_and_are_stacked_again():
    tree = {"kernel": jnp.arange(12.0).reshape(3, 4), "bias": jnp.arange(3)}
    params = {"embedding": jnp.ones(5), "inner": {"stack": {"blocks": tree, "final_norm": {}}}}
    layers = map_blocks(by_layer, params)
    first, *_, last = layers["inner"]["stack"]["blocks"]
    chex.assert_trees_all_equal(last, {"kernel": tree["kernel"][2], "bias": tree["bias"][2]})
    assert first["kernel"].shape == (4,) and layers["embedding"] is params["embedding"]
    chex.assert_trees_all_equal(map_blocks(stacked, layers), params)
