"""The selective scan of Mamba-2, chunk by chunk, and the short convolution before it.

Every channel has a small state. The input decides how fast the state decays and what is written to
it:

    h_t = exp(dt_t a) h_{t-1} + dt_t x_t b_t^T        y_t = h_t c_t

with one decay rate per head (Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, section
5). So the steps inside a chunk are a masked matmul, as in attention, and only one state per chunk
is passed on. No array holds a state per position, and matmul units do the work.
`selective_scan_reference` is the recurrence as written above; tests compare the two.

A row may hold several documents that do not see each other: where a document starts, the state is
zero, and the convolution reads no input before it.

Shape letters of this file, beside the project's: P width of a head, N numbers of state per channel,
E = H P inner width, G chunks, Q positions of a chunk, J taps.
"""

import jax
import jax.numpy as jnp


def selective_scan_reference(
    x_BTHP: jax.Array,
    dt_BTH: jax.Array,
    a_H: jax.Array,
    b_BTN: jax.Array,
    c_BTN: jax.Array,
    documents_BT: jax.Array | None = None,
) -> jax.Array:
    """Return y of the recurrence in the module docstring, as float32[B, T, H, P].

    This is the readable form, for tests. It stores every state for the backward pass and is several
    times slower than `selective_scan`, which has the same arguments.
    """
    n_batch, length, n_heads, head_dim = x_BTHP.shape
    if documents_BT is None:
        documents_BT = jnp.zeros((n_batch, length), jnp.int32)
    starts_BT = documents_BT != jnp.pad(documents_BT, ((0, 0), (1, 0)), mode="edge")[:, :-1]

    def step(h_BHNP, inputs):
        x_BHP, dt_BH, b_BN, c_BN, starts_B = inputs
        h_BHNP, y_BHP = selective_step(
            jnp.where(starts_B[:, None, None, None], 0.0, h_BHNP), x_BHP, dt_BH, a_H, b_BN, c_BN
        )
        return h_BHNP, y_BHP

    h_BHNP = jnp.zeros((n_batch, n_heads, b_BTN.shape[-1], head_dim), jnp.float32)
    inputs = jax.tree.map(
        lambda v: jnp.moveaxis(v, 1, 0), (x_BTHP, dt_BTH, b_BTN, c_BTN, starts_BT)
    )
    _, y_TBHP = jax.lax.scan(step, h_BHNP, inputs)
    return jnp.moveaxis(y_TBHP, 0, 1)


def selective_step(
    h_BHNP: jax.Array,
    x_BHP: jax.Array,
    dt_BH: jax.Array,
    a_H: jax.Array,
    b_BN: jax.Array,
    c_BN: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the state after one position, float32[B, H, N, P], and y, float32[B, H, P]."""
    x_BHP, b_BN, c_BN = (v.astype(jnp.float32) for v in (x_BHP, b_BN, c_BN))
    decay_BH = jnp.exp(dt_BH * a_H[None])
    write_BHNP = b_BN[:, None, :, None] * (dt_BH[..., None] * x_BHP)[:, :, None]
    h_BHNP = decay_BH[..., None, None] * h_BHNP + write_BHNP
    return h_BHNP, jnp.einsum("BHNP,BN->BHP", h_BHNP, c_BN)


def selective_scan(
    x_BTHP: jax.Array,
    dt_BTH: jax.Array,
    a_H: jax.Array,
    b_BTN: jax.Array,
    c_BTN: jax.Array,
    documents_BT: jax.Array | None = None,
    *,
    chunk_size: int,
) -> tuple[jax.Array, jax.Array]:
    """Return y of `selective_scan_reference` by matmuls, and the state behind the last position.

    Dao and Gu 2024, section 6 and listing 1: inside a chunk y = (L * c b^T) (dt x), where L holds
    the decay from one position to another; the state at the start of the chunk adds its part. The
    states of the chunks come from an associative scan.

    Args:
        x_BTHP: inputs, in the compute dtype.
        dt_BTH: float32 step sizes, >= 0; a step of size 0 leaves the state as it is.
        a_H: float32 decay rates, <= 0.
        b_BTN: b, the direction in which each input is written to the state, in the compute dtype.
        c_BTN: c, the direction in which the state is read, in the compute dtype.
        documents_BT: int32, which document each position belongs to, never falling; None = the row
            is one document.
        chunk_size: Q; T need not be a multiple of it.

    Returns:
        float32[B, T, H, P] and float32[B, H, N, P]. Decays, states and sums are float32.
    """
    dtype = x_BTHP.dtype
    length = x_BTHP.shape[1]
    chunk = min(chunk_size, length)

    def split(v_BT):
        # Zeros fill the last chunk. A step of size 0 neither decays the state nor writes to it.
        padding = [(0, 0)] * v_BT.ndim
        padding[1] = (0, -length % chunk)
        return jnp.pad(v_BT, padding).reshape(v_BT.shape[0], -1, chunk, *v_BT.shape[2:])

    def dot(spec, *operands):
        # Not `preferred_element_type`: XLA's CPU runtime has no batched bfloat16 -> float32 matmul.
        return jnp.einsum(spec, *(v.astype(dtype) for v in operands)).astype(jnp.float32)

    dtx_BGQHP = split((x_BTHP * dt_BTH[..., None]).astype(dtype))
    b_BGQN, c_BGQN = split(b_BTN), split(c_BTN)
    log_decay_BGHQ = jnp.moveaxis(jnp.cumsum(split(dt_BTH * a_H[None, None]), axis=2), 2, 3)

    # Inside a chunk. Masked before the exponential, which could overflow above the diagonal.
    log_l_BGHQQ = log_decay_BGHQ[..., :, None] - log_decay_BGHQ[..., None, :]
    causal_QQ = jnp.tril(jnp.ones((chunk, chunk), bool))
    reads = causal_QQ[None, None, None]
    if documents_BT is not None:
        padding = ((0, 0), (0, -length % chunk))
        docs_BT = jnp.pad(documents_BT, padding, mode="edge")
        docs_BGQ = docs_BT.reshape(docs_BT.shape[0], -1, chunk)
        reads = reads & (docs_BGQ[..., :, None] == docs_BGQ[..., None, :])[:, :, None]
    l_BGHQQ = jnp.exp(jnp.where(reads, log_l_BGHQQ, -jnp.inf))
    cb_BGQQ = dot("bgqn,bgkn->bgqk", c_BGQN, b_BGQN)
    y_BGQHP = dot("bghqk,bgkhp->bgqhp", l_BGHQQ * cb_BGQQ[:, :, None], dtx_BGQHP)

    # Between chunks: the state that each chunk writes, and the state that the next one starts from.
    # b and c are multiplied by the decays because they are narrower than x.
    to_end_BGHQ = jnp.exp(log_decay_BGHQ[..., -1:] - log_decay_BGHQ)
    from_start_BGHQ = jnp.exp(log_decay_BGHQ)
    if documents_BT is not None:
        # A state is of the document at the end of its chunk, and of use to that one only.
        before_BG = jnp.pad(docs_BGQ[:, :-1, -1], ((0, 0), (1, 0)), constant_values=-1)
        is_last_BGQ = docs_BGQ == docs_BGQ[..., -1:]
        to_end_BGHQ = jnp.where(is_last_BGQ[:, :, None], to_end_BGHQ, 0.0)
        is_same_BGQ = docs_BGQ == before_BG[..., None]
        from_start_BGHQ = jnp.where(is_same_BGQ[:, :, None], from_start_BGHQ, 0.0)
    b_BGHQN = to_end_BGHQ[..., None] * b_BGQN[:, :, None]
    written_BGHNP = dot("bghqn,bgqhp->bghnp", b_BGHQN, dtx_BGQHP)
    decay_BGH = from_start_BGHQ[..., -1]

    def join(earlier, later):
        decay, h = later
        return decay * earlier[0], decay[..., None, None] * earlier[1] + h

    _, h_BGHNP = jax.lax.associative_scan(join, (decay_BGH, written_BGHNP), axis=1)
    start_BGHNP = jnp.pad(h_BGHNP, ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))[:, :-1]
    c_BGHQN = from_start_BGHQ[..., None] * c_BGQN[:, :, None]
    y_BGQHP += dot("bghqn,bghnp->bgqhp", c_BGHQN, start_BGHNP)
    y_BTHP = y_BGQHP.reshape(x_BTHP.shape[0], -1, *x_BTHP.shape[2:])[:, :length]
    return y_BTHP, h_BGHNP[:, -1]


def causal_depthwise_conv(
    x_BTE: jax.Array,
    kernel_JE: jax.Array,
    bias_E: jax.Array,
    documents_BT: jax.Array | None = None,
) -> jax.Array:
    """Return a convolution of each channel over the last J positions, [B, T, E], in x's dtype.

    The last tap is for the current position. It is a sum of shifted products, because XLA's grouped
    convolution takes about ten times as long on a CPU. With `documents_BT` (see
    `selective_scan`), positions of other documents count as zeros.
    """
    n_taps, length = kernel_JE.shape[0], x_BTE.shape[1]
    padded = jnp.pad(x_BTE, ((0, 0), (n_taps - 1, 0), (0, 0)))
    kernel_JE = kernel_JE.astype(x_BTE.dtype)
    taps = [padded[:, j : j + length] * kernel_JE[None, None, j] for j in range(n_taps)]
    if documents_BT is not None:
        docs_BT = jnp.pad(documents_BT, ((0, 0), (n_taps - 1, 0)), constant_values=-1)
        for j in range(n_taps - 1):
            is_same_BT = docs_BT[:, j : j + length] == documents_BT
            taps[j] = jnp.where(is_same_BT[..., None], taps[j], 0)
    return sum(taps) + bias_E[None, None].astype(x_BTE.dtype)
