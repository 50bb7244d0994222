"""Embeddings of n-grams of bytes by their hashes, which are added to the embeddings of bytes.

Pagnoni et al. 2024, "Byte Latent Transformer: Patches Scale Better Than Tokens" (arXiv 2412.09871),
section 3.2.1: position t adds, for each n from 3 to 8, one row of a table that the hash of the
bytes t - n + 1 .. t chooses. n-grams share rows where their hashes meet. As in the authors' code,
the sum is not divided.

The hash is FNV-1a (Fowler, Noll and Vo), which begins with its offset and n, over the ids from the
oldest to the newest; at last its upper half is mixed into the lower one, because the row is its
rest modulo the size of the table. All of it is uint32, whose overflow is exact on every platform;
the paper's is a polynomial in 64 bits.

An n-gram does not reach behind the start of its document: the separator stands in for what would be
there.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding_constraints import rows

SIZES = (3, 4, 5, 6, 7, 8)
"""n of the paper."""

REACH = max(SIZES) - 1
"""Ids before a position that it reads."""

OFFSET, PRIME = 2166136261, 16777619
"""Of FNV-1a in 32 bits."""


def hashes(ids_BTN: jax.Array) -> jax.Array:
    """Return the hash of each row of ids, uint32[...].

    Args:
        ids_BTN: int32[..., n], ids of an n-gram, the oldest one first.
    """
    n = ids_BTN.shape[-1]
    hash_BT = jnp.full(ids_BTN.shape[:-1], OFFSET ^ n, jnp.uint32)
    for i in range(n):
        hash_BT = (hash_BT ^ ids_BTN[..., i].astype(jnp.uint32)) * jnp.uint32(PRIME)
    return hash_BT ^ (hash_BT >> 16)


def histories(ids_BT: jax.Array, since_start_BT: jax.Array, separator_id: int) -> jax.Array:
    """Return the `REACH` ids before each position and its own, int32[B, T, REACH + 1].

    Args:
        ids_BT: int32.
        since_start_BT: int32, positions since the start of the document, 0 at its start.
        separator_id: stands where the document has not begun.
    """
    past = []
    for age in range(REACH, 0, -1):
        length = ids_BT.shape[1]
        shifted_BT = jnp.pad(ids_BT, ((0, 0), (age, 0)))[:, :length]
        past.append(jnp.where(since_start_BT >= age, shifted_BT, separator_id))
    return jnp.stack([*past, ids_BT], axis=-1)


class HashNgrams(nn.Module):
    """Tables of n-grams, float32[6, R, D], one for each of `SIZES`.

    Their rows do not decay: most are rarely read, and would fade between two readings.

    Attributes:
        n_rows: R of each table.
        d_model: D.
        dtype: of the result.
    """

    decays = {"embedding": False}

    n_rows: int
    d_model: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, history_BTN: jax.Array) -> jax.Array:
        """Return the sum of the rows of the n-grams that end at each position, [B, T, D].

        Args:
            history_BTN: int32[B, T, REACH + 1], from `histories`.
        """
        shape = (len(SIZES), self.n_rows, self.d_model)
        tables_NRD = self.param("embedding", nn.initializers.normal(0.02), shape, jnp.float32)
        total_BTD = 0.0
        for table_RD, n in zip(tables_NRD, SIZES, strict=True):
            row_BT = hashes(history_BTN[..., -n:]) % jnp.uint32(self.n_rows)
            total_BTD = total_BTD + table_RD[row_BT.astype(jnp.int32)]
        return rows(total_BTD.astype(self.dtype))
