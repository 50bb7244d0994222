"""Splash attention: the kernel in Pallas that JAX ships for TPUs.

It keeps a query's scores in the chip's vector memory and skips the tiles that a causal mask hides,
so no [T, S] array reaches main memory (Dao 2023, "FlashAttention-2").
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import PartitionSpec as P

TILE = 128
"""Lengths are a multiple of the lanes of a vector register."""

BLOCKS = (512, 384, 256, TILE)
"""Queries and keys that the kernel holds at a time: the first that divides the length. Blocks of
128 would read the keys four times as often as blocks of 512."""


def splash_serves(q_BTHd: jax.Array, k_BSGd: jax.Array, *, has_bias: bool) -> bool:
    """Return whether the kernel takes these shapes: whole tiles, and no bias."""
    return not (has_bias or q_BTHd.shape[1] % TILE or k_BSGd.shape[1] % TILE)


def splash(
    q_BTHd: jax.Array,
    k_BSGd: jax.Array,
    v_BSGd: jax.Array,
    lengths_B: jax.Array | None,
    causal: bool,
    *,
    interpret: bool = False,
) -> jax.Array:
    """Return softmax(q k^T / sqrt(d)) v for every head, [B, T, H, d], in the dtype of q.

    XLA cannot split a kernel among devices, so this says how: rows over "data", heads over "model".

    Args:
        q_BTHd: queries.
        k_BSGd: keys; G divides H. Where the mesh splits heads of queries and cannot split G, they
            are repeated for every head of queries.
        v_BSGd: values.
        lengths_B: int32, the first so many keys of each row may be read; None reads all.
        causal: query t reads keys up to t only.
        interpret: run the kernel as plain JAX, on any platform; for tests.
    """
    mesh = jax.sharding.get_abstract_mesh()

    def attend(q_BTHd, k_BSGd, v_BSGd, lengths_B):
        return _on_one_device(q_BTHd, k_BSGd, v_BSGd, lengths_B, causal, interpret)

    if mesh.size > 1:
        n_rows, _, n_heads, _ = q_BTHd.shape
        rows = _axis(mesh, "data", n_rows)
        split = P(rows, None, _axis(mesh, "model", n_heads), None)
        n_groups = k_BSGd.shape[2]
        if _axis(mesh, "model", n_groups) != _axis(mesh, "model", n_heads):
            k_BSGd, v_BSGd = (jnp.repeat(x, n_heads // n_groups, axis=2) for x in (k_BSGd, v_BSGd))
        attend = jax.shard_map(
            attend,
            in_specs=(split, split, split, None if lengths_B is None else P(rows)),
            out_specs=split,
            # Values that a kernel makes say nothing of the axes along which they vary.
            check_vma=False,
        )
    return attend(q_BTHd, k_BSGd, v_BSGd, lengths_B)


def _axis(mesh: jax.sharding.AbstractMesh, name: str, size: int) -> str | None:
    """Return the axis of a mesh if it divides a size."""
    return name if name in mesh.shape and size % mesh.shape[name] == 0 else None


def _on_one_device(q_BTHd, k_BSGd, v_BSGd, lengths_B, causal, interpret):
    n_queries, n_heads, head_size = q_BTHd.shape[1:]
    n_keys = k_BSGd.shape[1]
    shape = (n_queries, n_keys)
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    attend = kernel.make_splash_mha_single_device(
        masks.MultiHeadMask([mask] * n_heads),
        block_sizes=_block_sizes(n_queries, n_keys),
        interpret=interpret,
    )
    segments, axes = None, (0, 0, 0, None)
    if lengths_B is not None:
        n_rows = q_BTHd.shape[0]
        # A row of no keys would divide by zero.
        hidden_BS = jnp.arange(n_keys)[None] >= jnp.maximum(lengths_B, 1)[:, None]
        queries_BT = jnp.zeros((n_rows, n_queries), jnp.int32)
        segments, axes = kernel.SegmentIds(queries_BT, hidden_BS.astype(jnp.int32)), (0, 0, 0, 0)
    out_BHTd = jax.vmap(attend, in_axes=axes)(
        (q_BTHd * head_size**-0.5).swapaxes(1, 2),
        k_BSGd.swapaxes(1, 2),
        v_BSGd.swapaxes(1, 2),
        segments,
    )
    return out_BHTd.swapaxes(1, 2)


def _block_sizes(n_queries: int, n_keys: int) -> kernel.BlockSizes:
    q, kv = (
        next(block for block in BLOCKS if length % block == 0) for length in (n_queries, n_keys)
    )
    return kernel.BlockSizes(
        block_q=q,
        block_kv=kv,
        block_kv_compute=kv,
        block_q_dkv=q,
        block_kv_dkv=kv,
        block_kv_dkv_compute=kv,
        block_q_dq=q,
        block_kv_dq=kv,
    )
