"""The entropy of the next byte under a byte model: what BLT cuts text by.

Pagnoni et al. 2024, "Byte Latent Transformer: Patches Scale Better Than Tokens" (arXiv 2412.09871),
section 2.3: a small causal model over bytes is trained first and then stays as it is,

    H_t = - sum_v p(v | bytes up to t) ln p(v | bytes up to t)        in nats

Its parameters have the names of those of a `GPT`, whose training is that of any other run. Beyond
the length of its rows in training it reads a window of that length: entropies of positions that it
has never seen would be of no use. So its positions are rotary.
"""

import jax
import jax.numpy as jnp

from latent_jax.layers.embeddings import TokenEmbedding
from latent_jax.layers.reach import AttentionNetwork, AttentionReach, ReachCache


def entropy_flops(reach: AttentionReach, length: float) -> float:
    """Return forward FLOPs per position on rows of `length` positions, the head included."""
    return reach.forward_flops(length) + 2.0 * reach.width * reach.stack.vocab_size


def entropy(logits_BTV: jax.Array) -> jax.Array:
    """Return the entropy of the softmax of logits, nats, float32[...]."""
    log_p_BTV = jax.nn.log_softmax(logits_BTV.astype(jnp.float32), axis=-1)
    return -jnp.sum(jnp.exp(log_p_BTV) * log_p_BTV, axis=-1)


class EntropyModel(AttentionNetwork):
    """A byte model whose results are entropies; no gradient leaves them.

    Its config is an `AttentionReach` whose stack has a vocabulary.
    """

    def setup(self):
        """Create the table and the blocks."""
        super().setup()
        stack = self.config.stack
        self.token_embedding = TokenEmbedding(stack.vocab_size, stack.d_model, stack.dtype)

    def entropies(self, ids_BT: jax.Array, documents_BT: jax.Array | None = None) -> jax.Array:
        """Return the entropy of the byte behind each position, nats, float32[B, T].

        Args:
            ids_BT: int32, what positions read.
            documents_BT: see `AttentionNetwork`.
        """
        return self._entropy(self(self.token_embedding(ids_BT), documents_BT))

    def prefill_entropies(
        self, ids_BT: jax.Array, lengths_B: jax.Array, cache: ReachCache
    ) -> tuple[jax.Array, ReachCache]:
        """Return the entropies, and rings with the last of the first `lengths_B` positions."""
        x_BTD, cache = self.prefill(self.token_embedding(ids_BT), lengths_B, cache)
        return self._entropy(x_BTD), cache

    def step_entropies(self, ids_B: jax.Array, cache: ReachCache) -> tuple[jax.Array, ReachCache]:
        """Read one id per lane; return the entropies behind it, float32[B], and the cache."""
        x_BD = self.token_embedding(ids_B[:, None])[:, 0]
        x_BD, cache = self.step(x_BD, cache, jnp.ones(ids_B.shape, bool))
        return self._entropy(x_BD[:, None])[:, 0], cache

    def _entropy(self, x_BTD):
        return jax.lax.stop_gradient(entropy(self.token_embedding.attend(x_BTD)))
