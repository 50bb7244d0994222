"""Hierarchical models over bytes: encoder, chunker, inner network over chunks, decoder.

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

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import Cut, repeat
from latent_jax.chunking.dynamic.chunker import EVEN, DynamicChunker, Row, row_of_chunks
from latent_jax.layers.dense import Dense
from latent_jax.layers.dropout import Dropout
from latent_jax.layers.embeddings import TokenEmbedding
from latent_jax.layers.reach import keep
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageCache, StageConfig


class Boundaries(NamedTuple):
    """What a stage decided.

    Attributes:
        p_BT: float32, probabilities of boundaries, moved by the threshold; 1 where a document
            starts.
        cut: where chunks begin, in positions of the stage.
        row: what is known of the positions of the stage.
    """

    p_BT: jax.Array
    cut: Cut
    row: Row


class Notes(NamedTuple):
    """What a pass leaves beside its result.

    Attributes:
        aux_loss: float32 scalar, the sum of the losses of the routers of all stages.
        stats: sums by name, "n_chunks_1" and "n_overflow_1" of the outermost stage, and so on.
        boundaries: of each stage, outermost first.
    """

    aux_loss: jax.Array
    stats: dict[str, jax.Array]
    boundaries: tuple[Boundaries, ...] = ()


class Stage(nn.Module):
    """One stage, and all that are in it; [B, T, D] in and out.

    Attributes:
        config: of the stage.
        number: 1 = the outermost.
    """

    decays = {"pad": False}

    config: StageConfig
    number: int = 1

    def setup(self):
        """Create the networks."""
        config, width = self.config, self.config.width
        self.encoder, self.decoder = config.outer.module(), config.after.module()
        self.chunker = DynamicChunker(config.chunker)
        self.back = config.back
        zeros = nn.initializers.zeros
        if config.residual == "linear":
            self.residual = Dense((width,), (width,), "float32", zeros, use_bias=False)
        if config.inner.width > width:
            self.pad = self.param("pad", zeros, (config.inner.width - width,), jnp.float32)
        is_last = config.is_innermost
        self.inner = config.inner.module() if is_last else Stage(config.inner, self.number + 1)

    def __call__(
        self, x_BTD: jax.Array, row: Row, *, train: bool = False
    ) -> tuple[jax.Array, Notes]:
        """Return the decoder's result and the notes of all stages."""
        encoded_BTD = self.encoder(x_BTD, row.documents_BT, train=train)
        chunks, cut, p_BT, read_BT = self.chunker(encoded_BTD, row, train=train)
        inner_row = row_of_chunks(row, cut)
        z_BKE = self._widened(chunks.z_BKD)
        notes = Notes(jnp.zeros((), jnp.float32), {})
        if self.config.is_innermost:
            words = dict(train=train, mask_BT=cut.mask_BK)
            z_BKE = self.inner(z_BKE, inner_row.documents_BT, **words)
        else:
            z_BKE, notes = self.inner(z_BKE, inner_row, train=train)
        joined_BTD, memory_BKD = self._joined(encoded_BTD, z_BKE, read_BT, cut, row, inner_row)
        memory = self._memory(memory_BKD, cut, row, inner_row)
        stats = {f"{name}_{self.number}": value for name, value in chunks.stats.items()}
        own = Boundaries(p_BT, cut, row)
        notes = Notes(
            notes.aux_loss + chunks.aux_loss, stats | notes.stats, (own, *notes.boundaries)
        )
        return self.decoder(joined_BTD, row.documents_BT, train=train, **memory), notes

    def prefill(
        self, x_BTD: jax.Array, row: Row, lengths_B: jax.Array, cache: StageCache
    ) -> tuple[jax.Array, StageCache]:
        """Read the first positions of each lane; nothing overflows.

        A prompt may cut anywhere, so there is room for a chunk at every position: the inner network
        computes as many as the prompt is long.

        Args:
            x_BTD: the stream, padded at the end.
            row: of the same positions, each lane one document.
            lengths_B: int32, positions of each lane, at least 1.
            cache: empty; it says how many slots rings have.

        Returns:
            The decoder's result, and the cache behind the last position of each lane.
        """
        encoded_BTD, encoder = self.encoder.prefill(x_BTD, lengths_B, cache.encoder)
        chunks, cut, p_BT, _ = self.chunker(encoded_BTD, row, capacity=x_BTD.shape[1])
        inner_row, n_chunks_B = row_of_chunks(row, cut), jnp.sum(cut.mask_BK, axis=1)
        z_BKE = self._widened(chunks.z_BKD)
        if self.config.is_innermost:
            z_BKE, inner = self.inner.prefill(z_BKE, n_chunks_B, cache.inner)
        else:
            z_BKE, inner = self.inner.prefill(z_BKE, inner_row, n_chunks_B, cache.inner)
        joined_BTD, memory_BKD = self._joined(encoded_BTD, z_BKE, p_BT, cut, row, inner_row)
        memory = self._memory(memory_BKD, cut, row, inner_row)
        y_BTD, decoder = self.decoder.prefill(joined_BTD, lengths_B, cache.decoder, **memory)
        at_B11 = n_chunks_B[:, None, None] - 1
        memory_BD = jnp.take_along_axis(memory_BKD, at_B11, axis=1)[:, 0]
        last = self.chunker.last(encoded_BTD, row, cut, lengths_B)
        return y_BTD, StageCache(encoder, decoder, last, memory_BD, inner)

    def step(
        self,
        x_BD: jax.Array,
        id_B: jax.Array,
        start_B: jax.Array,
        is_real_B: jax.Array,
        cache: StageCache,
        signal_B: jax.Array | None = None,
    ) -> tuple[jax.Array, StageCache]:
        """Read one position per lane.

        The inner network runs if the position begins a chunk in any lane; lanes in which it does
        not are computed with the others, and their results and states dropped.

        Args:
            x_BD: the stream.
            id_B: int32, the id that the position reads.
            start_B: bool, whether a document starts there.
            is_real_B: bool, whether the lane reads a position at all.
            cache: of the position before.
            signal_B: float32, see `Sight`; None = there is none.
        """
        encoded_BD, encoder = self.encoder.step(x_BD, cache.encoder, is_real_B)
        p_B, z_BD, last = self.chunker.step(encoded_BD, id_B, start_B, cache.last, signal_B)
        is_first_B = (p_B > EVEN) & is_real_B
        z_BE = self._widened(z_BD[:, None])[:, 0]
        z_BE, inner = nn.cond(
            jnp.any(is_first_B),
            *(_run_inner, _skip_inner, self),
            *(z_BE, id_B, start_B, is_first_B, cache.inner),
        )
        up_BD, memory_BD = self.back.step(
            z_BE[:, : self.config.width], p_B, start_B, is_first_B, cache.memory_BD
        )
        joined_BD = self._added(up_BD, encoded_BD)
        memory = dict(memory_BD=memory_BD) if self.config.reads_memory else {}
        y_BD, decoder = self.decoder.step(joined_BD, cache.decoder, is_real_B, **memory)
        last = keep(is_real_B, last, cache.last)
        return y_BD, StageCache(encoder, decoder, last, memory_BD, inner)

    def _widened(self, z_BKD):
        """Return chunks as wide as the inner network."""
        n_more = self.config.inner.width - self.config.width
        if not n_more:
            return z_BKD
        pad_BKE = jnp.broadcast_to(
            self.pad[None, None].astype(z_BKD.dtype), (*z_BKD.shape[:2], n_more)
        )
        return jnp.concatenate([z_BKD, pad_BKE], axis=-1)

    def _joined(self, encoded_BTD, z_BKE, p_BT, cut, row, inner_row):
        """Return what the decoder reads, in the compute dtype, and the memory of the way back."""
        z_BKD = z_BKE[..., : self.config.width]
        up_BTD, memory_BKD = self.back(z_BKD, p_BT, cut, inner_row.starts_BT)
        up_BTD = _of_own_document(up_BTD, cut, row, inner_row)
        return self._added(up_BTD, encoded_BTD), memory_BKD

    def _memory(self, memory_BKD, cut, row, inner_row):
        """Return what the decoder reads beside the stream, as its argument, if it does."""
        if not self.config.reads_memory:
            return {}
        memory_BTD = repeat(memory_BKD, cut.chunk_of_BT)
        return dict(memory_BTD=_of_own_document(memory_BTD, cut, row, inner_row))

    def _added(self, up, encoded):
        """Return the way back and the encoder's result, [..., D] in the compute dtype."""
        kept = self.residual(encoded) if self.config.residual == "linear" else encoded
        return (up + kept).astype(encoded.dtype)


def _of_own_document(x_BTD, cut, row, inner_row):
    """Return what positions have of their chunks, and zeros where those are of other documents."""
    if row.documents_BT is None:
        return x_BTD
    of_chunk_BT = jnp.take_along_axis(inner_row.documents_BT, cut.chunk_of_BT, axis=1)
    return jnp.where((of_chunk_BT == row.documents_BT)[..., None], x_BTD, 0.0)


def _run_inner(stage, z_BE, id_B, start_B, is_first_B, cache):
    if stage.config.is_innermost:
        return stage.inner.step(z_BE, cache, is_first_B)
    return stage.inner.step(z_BE, id_B, start_B, is_first_B, cache)


def _skip_inner(stage, z_BE, id_B, start_B, is_first_B, cache):
    del stage, id_B, start_B, is_first_B
    return jnp.zeros_like(z_BE), cache


class HierarchicalModel(nn.Module):
    """Bytes to bytes: embedding, stages, and a head tied to the embedding."""

    config: HierarchicalConfig

    def setup(self):
        """Create the table and the outermost stage."""
        config = self.config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.stage.width, config.dtype)
        self.dropout = Dropout(config.dropout)
        self.stage = Stage(config.stage)

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
            signal_BT: float32, see `Sight`; None = there is none.
            train: whether dropout is on, thresholds follow and boundaries are drawn. The first
                needs the rng stream "dropout", the second that the collection "rate" is mutable,
                the third the stream "boundaries".
        """
        row = self._row(ids_BT, mask_BT, n_bytes, self.config.apart)
        row = row._replace(signal_BT=signal_BT)
        x_BTD = self.dropout(self.token_embedding(ids_BT), train=train)
        return self.stage(x_BTD, row, train=train)

    def prefill(
        self, ids_BT: jax.Array, lengths_B: jax.Array, cache: StageCache
    ) -> tuple[jax.Array, StageCache]:
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
        row = self._row(ids_BT, mask_BT, None, False)
        x_BTD, cache = self.stage.prefill(self.token_embedding(ids_BT), row, lengths_B, cache)
        last_B1D = jnp.take_along_axis(x_BTD, lengths_B[:, None, None] - 1, axis=1)
        return self.logits(last_B1D)[:, 0], cache

    def step(self, ids_B: jax.Array, cache: StageCache) -> tuple[jax.Array, StageCache]:
        """Read one id per lane; return the logits behind it, float32[B, V], and the cache."""
        x_BD = self.token_embedding(ids_B[:, None])[:, 0]
        start_B, is_real_B = ids_B == self.config.separator_id, jnp.ones(ids_B.shape, bool)
        x_BD, cache = self.stage.step(x_BD, ids_B, start_B, is_real_B, cache)
        return self.logits(x_BD[:, None])[:, 0], cache

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Return the logits of features, float32[B, T, V], from the tied table."""
        return self.token_embedding.attend(x_BTD)

    def _row(self, ids_BT, mask_BT, n_bytes, apart):
        starts_BT = (ids_BT == self.config.separator_id).at[:, 0].set(True)
        mask_BT = jnp.ones(ids_BT.shape, bool) if mask_BT is None else mask_BT
        documents_BT = jnp.cumsum(starts_BT, axis=1, dtype=jnp.int32) if apart else None
        n_units = jnp.sum(mask_BT).astype(jnp.float32) if n_bytes is None else n_bytes
        return Row(ids_BT, starts_BT, mask_BT, documents_BT, n_units)
