"""Attention under a view: weights are kept for whoever asks, and change nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.block import BLOCKS, Stack
from latent_jax.layers.cache import Cache
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.view import VIEW_WEIGHTS, View

CONFIG = TransformerConfig(
    vocab_size=4,
    max_length=8,
    n_layers=2,
    d_model=16,
    n_heads=4,
    n_kv_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
)


def test_weights_are_kept_where_asked_for_and_add_up_to_1():
    stack = Stack(CONFIG, causal=True)
    x_BTD = jax.random.normal(jax.random.key(0), (2, 5, 16))
    params = jax.jit(stack.init)(jax.random.key(1), x_BTD)
    assert set(params) == {"params"}
    nothing_LBGSd = jnp.zeros((2, 2, 2, 3, 4))
    contexts = (Cache(nothing_LBGSd, nothing_LBGSd),)
    own_BTT = jnp.broadcast_to(jnp.tril(jnp.ones((5, 5), bool)), (2, 5, 5))
    position_BT = jnp.broadcast_to(jnp.arange(5), (2, 5))
    view = View(position_BT, own_BTT, (jnp.ones((2, 5, 3), bool).at[:, :, 2].set(False),))

    @jax.jit
    def both(params):
        plain = stack.apply(params, x_BTD, cache=contexts, view=view)
        words = dict(cache=contexts, view=view, mutable=("intermediates",))
        return plain, stack.apply(params, x_BTD, **words)

    plain, (watched, kept) = both(params)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(watched), strict=True):
        np.testing.assert_array_equal(one, other)
    ((context_LBGPTS, own_LBGPTT),) = kept["intermediates"][BLOCKS]["attention"][VIEW_WEIGHTS]
    assert context_LBGPTS.shape == (2, 2, 2, 2, 5, 3) and own_LBGPTT.shape == (2, 2, 2, 2, 5, 5)
    total = context_LBGPTS.sum(axis=-1) + own_LBGPTT.sum(axis=-1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert not np.array(context_LBGPTS[..., 2]).any()  # nobody may read it
    assert not np.triu(np.array(own_LBGPTT), 1).any()
    # Keys of zeros are all alike.
    np.testing.assert_allclose(context_LBGPTS[..., 0], context_LBGPTS[..., 1], rtol=1e-6)
