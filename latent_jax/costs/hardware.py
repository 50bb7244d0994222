"""The measured speed of this machine, which speeds and expected times are compared with."""

import time

import jax
import jax.numpy as jnp


def matmul_rate(size: int = 2048, n_times: int = 5) -> float:
    """Return the FLOP/s of a float32 matrix product of two [size, size], the best of `n_times`."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    seconds = []
    for _ in range(n_times):
        start = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
