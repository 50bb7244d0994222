"""Activation functions by their names in a config."""

import functools

import jax

ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_exact": functools.partial(jax.nn.gelu, approximate=False),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
"""Element-wise functions; "gelu" is the tanh form of GPT-2 (Hendrycks and Gimpel 2016)."""
