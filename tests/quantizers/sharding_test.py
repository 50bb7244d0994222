"""One device and a batch over eight: the same codes, the same state, the same statistics."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from latent_jax.quantizers import QuantizerConfig, make_quantizer
from tests.compiled import init


@pytest.mark.parametrize("kind", ["vq", "rvq", "fsq"])
def test_eight_devices_equal_one(kind):
    # Fewer codes than latents: with a vector twice, rounding decides between equal codes. The two
    # stages of an RVQ have 64 codes each, enough for some to be dead.
    codebook_size = 4096 if kind == "rvq" else 128
    config = QuantizerConfig(
        kind=kind, codebook_size=codebook_size, d_model=12, code_dim=8, restart_period=2,
        ema_decay=0.5, restart_threshold=0.3,
    )  # fmt: skip
    module = make_quantizer(config)
    mask_BK = jnp.arange(24)[None] < jnp.arange(9, 25)[:, None]
    z_SBKD = np.asarray(jax.random.normal(jax.random.key(0), (5, 16, 24, 12)))
    variables = init(module, jax.random.key(1), z_SBKD[0], mask_BK)

    def loss(params, state, z_BKD, mask_BK, key):
        quantized, state = module.apply(
            {"params": params, **state}, z_BKD, mask_BK, train=True, rngs={"quantizer": key},
            mutable=["codebook"],
        )  # fmt: skip
        total = quantized.aux_loss + jnp.mean(jnp.square(quantized.z_q_BKD - z_BKD))
        return total, (quantized, state)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def train(place):
        params = variables["params"]
        state = {k: v for k, v in variables.items() if k != "params"}
        outcomes = []
        for i, z_BKD in enumerate(z_SBKD):
            (total, (quantized, state)), gradient = step(
                params, state, place(z_BKD), place(mask_BK), jax.random.key(i)
            )
            outcomes.append((total, quantized, gradient))
        return jax.device_get((outcomes, state)), quantized.codes_BK.sharding.num_devices

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    (one, one_state), n_one = train(jnp.asarray)
    with jax.set_mesh(mesh):
        (eight, eight_state), n_eight = train(lambda x: jax.device_put(x, sharding))
    assert (n_one, n_eight) == (1, 8)
    for (_, a, _), (_, b, _) in zip(one, eight, strict=True):
        np.testing.assert_array_equal(a.codes_BK, b.codes_BK)
        np.testing.assert_array_equal(a.stats["code_counts"], b.stats["code_counts"])
        np.testing.assert_array_equal(a.stats["n_restarted"], b.stats["n_restarted"])
    chex.assert_trees_all_close(eight, one, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(eight_state, one_state, rtol=1e-4, atol=1e-5)
    if kind != "fsq":
        assert sum(quantized.stats["n_restarted"] for _, quantized, _ in one) > 0
