"""Splash attention: the Pallas kernel for TPUs that JAX ships.

It keeps the scores of a block of queries in the chip's vector memory, so no [T, S] array reaches
main memory (Dao 2023, "FlashAttention-2"). It skips tiles that a causal mask hides.
"""

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import PartitionSpec as P

TILE = 128
"""Lengths must be a multiple of this, the number of lanes of a vector register."""

BLOCKS = (512, 384, 256, TILE)
"""Sizes of blocks of queries and keys; the first that divides the length is taken. Larger ones come
first because blocks of 128 read the keys four times as often as blocks of 512."""


def splash_serves(q_BTHd: jax.Array, k_BSGd: jax.Array, *, has_bias: bool) -> bool:
    """Return whether the kernel takes these inputs: lengths of whole tiles, and no bias."""
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

    XLA cannot split a kernel among devices, so `shard_map` splits it: rows over "data", heads over
    "model".

    Args:
        q_BTHd: queries.
        k_BSGd: keys; G must divide H. If the mesh splits H but cannot split G, keys and values are
            repeated for every head of queries.
        v_BSGd: values.
        lengths_B: int32, the number of keys at the start of each row that may be read; None = all.
        causal: whether query t reads keys up to t only.
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
            # The outputs of a kernel do not state along which mesh axes they vary.
            check_vma=False,
        )
    return attend(q_BTHd, k_BSGd, v_BSGd, lengths_B)


def _axis(mesh: jax.sharding.AbstractMesh, name: str, size: int) -> str | None:
    """Return the name of a mesh axis if the mesh has it and it divides `size`, else None."""
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
        # At least one key, because the softmax of a row without keys would divide by zero.
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
