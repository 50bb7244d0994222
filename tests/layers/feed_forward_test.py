import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.feed_forward import FeedForward
from latent_jax.models.gpt import GPTConfig


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_two_layers_with_the_configured_activation(activation):
    config = GPTConfig(
        vocab_size=8, max_length=4, n_layers=1, d_model=6, n_heads=2, d_ff=10, activation=activation
    )
    x = jax.random.normal(jax.random.key(0), (2, 3, 6))
    y, variables = FeedForward(config).init_with_output(jax.random.key(1), 50.0 * x)
    up, down = variables["params"]["up"], variables["params"]["down"]
    hidden = ACTIVATIONS[activation](50.0 * x @ up["kernel"] + up["bias"][None, None])
    expected = hidden @ down["kernel"] + down["bias"][None, None]
    chex.assert_shape(hidden, (2, 3, 10))
    chex.assert_equal_shape([x, y, expected])
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_activations_differ_and_gelu_is_the_tanh_form():
    x = jnp.linspace(-3.0, 3.0, 41)
    values = {name: np.asarray(function(x)) for name, function in ACTIVATIONS.items()}
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(values["gelu"], tanh, atol=1e-6)
    assert 1e-5 < np.abs(values["gelu"] - values["gelu_exact"]).max() < 1e-3
    assert np.abs(values["relu"] - values["silu"]).max() > 0.1


def test_gated_without_biases():
    config = GPTConfig(
        vocab_size=8,
        max_length=4,
        n_layers=1,
        d_model=6,
        n_heads=2,
        d_ff=10,
        activation="relu",
        gated=True,
        use_bias=False,
    )
    x = jax.random.normal(jax.random.key(0), (2, 3, 6))
    y, variables = FeedForward(config).init_with_output(jax.random.key(1), 50.0 * x)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {
        "up": {"kernel": (6, 10)},
        "gate": {"kernel": (6, 10)},
        "down": {"kernel": (10, 6)},
    }
    up, gate, down = (variables["params"][name]["kernel"] for name in ("up", "gate", "down"))
    expected = (jax.nn.relu(50.0 * x @ gate) * (50.0 * x @ up)) @ down
    np.testing.assert_allclose(y, expected, atol=1e-5)
