"""Tracing of cuDNN's attention on a machine without an NVIDIA GPU."""

import contextlib
from collections.abc import Iterator
from unittest import mock

CUDNN_VERSION = 91_100
"""cuDNN 9.11.0, as `cudnnGetVersion` returns it."""

STAND_INS = {
    "check_cudnn_version": lambda: CUDNN_VERSION,
    "check_compute_capability": lambda capability: _number(capability) <= (9, 0),
    "is_cuda_compute_capability_equal": lambda capability: _number(capability) == (9, 0),
}
"""Functions of `jax._src.cudnn.fused_attention_stablehlo` by which JAX asks about the machine while
it traces cuDNN's attention -> replacements that answer as an H100 with cuDNN 9.11 would."""


@contextlib.contextmanager
def traceable_cudnn() -> Iterator[bool]:
    """Let `jax.nn.dot_product_attention(..., implementation="cudnn")` be traced and lowered here.

    JAX looks for the cuDNN library and for the GPU's compute capability while it traces. Where this
    process has JAX's CUDA libraries, nothing is replaced. Elsewhere the three functions of
    `STAND_INS` are replaced until the context ends. The kernels' shapes and dtypes are still
    checked, and the lowered program is the same, but it cannot run here.

    Yields:
        Whether the functions were replaced.
    """
    # These names are private to JAX and may change: if they do, only this function fails.
    from jax._src.cudnn import fused_attention_stablehlo
    from jax._src.lib import cuda_versions

    if cuda_versions is not None:
        yield False
        return
    with mock.patch.multiple(fused_attention_stablehlo, **STAND_INS):
        yield True


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
