"""Modules drawn and called as one program each, which compiles faster than their operations."""

import functools

import jax


@functools.partial(jax.jit, static_argnums=0)
def init(module, *arguments):
    """Return what `module.init` does of a key and inputs."""
    return module.init(*arguments)


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def apply(module, variables, *inputs, method=None):
    """Return what `module.apply` does of variables and inputs, in evaluation."""
    return module.apply(variables, *inputs, method=method)
