"""Hierarchical models over bytes or other ids: encoder, chunker, network over chunks, decoder.

Hwang et al. 2025, "Dynamic Chunking for End-to-End Hierarchical Sequence Modeling" (H-Net, arXiv
2507.07955), section 2. The inner network is such a model again, or a transformer. Every sub-network
ends in a norm. Wider inner networks read a chunk beside a learned vector, and what they give is cut
to the width of the outer one. The way back is added to the encoder's result, or to a linear map of
it, whose float32 weights begin at zero. Router, pooling and way back are those of the config. A
decoder may read the way back's memory of its chunk at each position too, in its attention: the
joint decoding of ConceptMoE (Huang et al. 2026, arXiv 2601.21420).

What is ours: the number of chunks is static (`chunking.dynamic.base`), and a threshold holds the
rate (`chunking.dynamic.rate`).

Rows hold documents behind each other. As in the GPT of all other methods, a position reads earlier
documents of its row, so that comparisons are at equal terms; boundaries always are where a document
starts, and the moving average starts anew there. With `apart`, documents do not see each other:
scans, convolutions and attention end at their starts, and a position whose chunk is of an earlier
document, which happens only behind an overflow, takes nothing from it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.row import Row, since_start
from latent_jax.layers.dropout import Dropout
from latent_jax.layers.embeddings import TokenEmbedding
from latent_jax.layers.ngrams import HashNgrams, histories
from latent_jax.models.entropy_model import EntropyModel
from latent_jax.models.hierarchy_config import HierarchicalConfig, ModelCache
from latent_jax.models.stage import Notes, Stage


class HierarchicalModel(nn.Module):
    """Ids to ids: embedding, stages, and a head tied to the embedding."""

    config: HierarchicalConfig

    def setup(self):
        """Create the table and the outermost stage."""
        config = self.config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.stage.width, config.dtype)
        self.dropout = Dropout(config.dropout)
        self.stage = Stage(config.stage)
        if config.entropy is not None:
            self.entropy_model = EntropyModel(config.entropy)
        if config.ngrams:
            self.ngrams = HashNgrams(config.ngrams, config.stage.width, config.dtype)

    def __call__(
        self,
        ids_BT: jax.Array,
        mask_BT: jax.Array | None = None,
        n_bytes: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Return logits float32[B, T, V]; see `features`."""
        x_BTD, _ = self.features(ids_BT, mask_BT, n_bytes, train=train)
        return self.logits(x_BTD)

    def features(
        self,
        ids_BT: jax.Array,
        mask_BT: jax.Array | None = None,
        n_bytes: jax.Array | None = None,
        signal_BT: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> tuple[jax.Array, Notes]:
        """Return the stream behind the last norm, [B, T, D] in the compute dtype, and the notes.

        Args:
            ids_BT: int32, what positions read.
            mask_BT: bool, False at padding behind a row; None = there is none.
            n_bytes: float32 scalar, raw bytes of the batch, where rates are counted in them; None =
                they are counted in its positions.
            signal_BT: float32, see `Sight`; None = that of the entropy model, or none without one.
            train: whether dropout is on, thresholds follow and boundaries are drawn. The first
                needs the rng stream "dropout", the second that the collection "rate" is mutable,
                the third the stream "boundaries".
        """
        row = self._row(ids_BT, mask_BT, n_bytes, self.config.apart)
        row = row._replace(signal_BT=self.signal(row) if signal_BT is None else signal_BT)
        x_BTD = self.dropout(self._embed(ids_BT, self._history(row)), train=train)
        return self.stage(x_BTD, row, train=train)

    def signal(self, row: Row) -> jax.Array | None:
        """Return the entropies of the bytes behind positions, float32[B, T]; None without a model.

        As in the GPT of all methods, the model of entropies reads earlier documents of a row,
        unless documents do not see each other.
        """
        if self.config.entropy is None:
            return None
        return self.entropy_model.entropies(row.ids_BT, row.documents_BT)

    def prefill(
        self, ids_BT: jax.Array, lengths_B: jax.Array, cache: ModelCache
    ) -> tuple[jax.Array, ModelCache]:
        """Read the first ids of each lane; `step` goes on behind them.

        A lane is one document: its first id is the separator, and no other one is.

        Args:
            ids_BT: int32, padded at the end.
            lengths_B: int32, ids of each lane, at least 1.
            cache: from `HierarchicalConfig.empty_cache`; positions and chunks further back than
                its rings have slots are not read.

        Returns:
            The logits behind the last id of each lane, float32[B, V], and the cache.
        """
        mask_BT = jnp.arange(ids_BT.shape[1])[None] < lengths_B[:, None]
        row, entropy = self._row(ids_BT, mask_BT, None, False), ()
        if self.config.entropy is not None:
            read = self.entropy_model.prefill_entropies
            signal_BT, entropy = read(ids_BT, lengths_B, cache.entropy)
            row = row._replace(signal_BT=signal_BT)
        history_BTN, past = self._history(row), ()
        if history_BTN is not None:
            last_B1N = jnp.take_along_axis(history_BTN, lengths_B[:, None, None] - 1, axis=1)
            past = last_B1N[:, 0, 1:]
        x_BTD = self._embed(ids_BT, history_BTN)
        x_BTD, stage = self.stage.prefill(x_BTD, row, lengths_B, cache.stage)
        last_B1D = jnp.take_along_axis(x_BTD, lengths_B[:, None, None] - 1, axis=1)
        return self.logits(last_B1D)[:, 0], ModelCache(stage, entropy, past)

    def step(self, ids_B: jax.Array, cache: ModelCache) -> tuple[jax.Array, ModelCache]:
        """Read one id per lane; return the logits behind it, float32[B, V], and the cache."""
        separator, is_real_B = self.config.separator_id, jnp.ones(ids_B.shape, bool)
        start_B, history_B1N, past = ids_B == separator, None, ()
        if self.config.ngrams:
            past_BN = jnp.where(start_B[:, None], separator, cache.past)
            history_BN = jnp.concatenate([past_BN, ids_B[:, None]], axis=1)
            history_B1N, past = history_BN[:, None], history_BN[:, 1:]
        x_BD = self._embed(ids_B[:, None], history_B1N)[:, 0]
        signal_B, entropy = None, ()
        if self.config.entropy is not None:
            signal_B, entropy = self.entropy_model.step_entropies(ids_B, cache.entropy)
        x_BD, stage = self.stage.step(x_BD, ids_B, start_B, is_real_B, cache.stage, signal_B)
        return self.logits(x_BD[:, None])[:, 0], ModelCache(stage, entropy, past)

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Return the logits of features, float32[B, T, V], from the tied table."""
        return self.token_embedding.attend(x_BTD)

    def _embed(self, ids_BT, history_BTN):
        """Return the embeddings of ids, and of n-grams where there are some."""
        x_BTD = self.token_embedding(ids_BT)
        return x_BTD if history_BTN is None else x_BTD + self.ngrams(history_BTN)

    def _history(self, row):
        """Return the ids that n-grams read, int32[B, T, N]; None without n-grams."""
        if not self.config.ngrams:
            return None
        return histories(row.ids_BT, since_start(row.starts_BT), self.config.separator_id)

    def _row(self, ids_BT, mask_BT, n_bytes, apart):
        starts_BT = (ids_BT == self.config.separator_id).at[:, 0].set(True)
        mask_BT = jnp.ones(ids_BT.shape, bool) if mask_BT is None else mask_BT
        documents_BT = jnp.cumsum(starts_BT, axis=1, dtype=jnp.int32) if apart else None
        n_units = jnp.sum(mask_BT).astype(jnp.float32) if n_bytes is None else n_bytes
        return Row(ids_BT, starts_BT, mask_BT, documents_BT, n_units)
