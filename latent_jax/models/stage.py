"""One stage of a hierarchical model: encoder, chunker, what is inside, way back, decoder.

It runs over rows, reads the first positions of lanes at once (`prefill`), and then one position per
lane (`step`), with the same results. See `models.hierarchical`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.base import Cut, repeat
from latent_jax.chunking.dynamic.chunker import EVEN, DynamicChunker
from latent_jax.chunking.dynamic.row import Row, row_of_chunks
from latent_jax.layers.dense import Dense
from latent_jax.layers.reach import keep
from latent_jax.models.hierarchy_config import StageCache, StageConfig


class Boundaries(NamedTuple):
    """What a stage decided.

    Attributes:
        p_BT: float32, probabilities of boundaries, moved by the threshold; 1 where a document
            starts.
        cut: where chunks begin, in positions of the stage.
        row: what is known of the positions of the stage.
        own_BT: float32, probabilities that no threshold moved.
    """

    p_BT: jax.Array
    cut: Cut
    row: Row
    own_BT: jax.Array


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
        if config.up is not None:
            self.up_attention = config.up.module()
        zeros = nn.initializers.zeros
        if config.residual == "linear":
            self.residual = Dense((width,), (width,), "float32", zeros, use_bias=False)
        n_more = config.inner.width - config.chunk_width
        if n_more:
            self.pad = self.param("pad", zeros, (n_more,), jnp.float32)
        is_last = config.is_innermost
        self.inner = config.inner.module() if is_last else Stage(config.inner, self.number + 1)

    def __call__(
        self, x_BTD: jax.Array, row: Row, *, train: bool = False
    ) -> tuple[jax.Array, Notes]:
        """Return the decoder's result and the notes of all stages."""
        encoded_BTD = self.encoder(x_BTD, row.documents_BT, train=train)
        chunks, cut, p_BT, read = self.chunker(encoded_BTD, row, train=train)
        inner_row = row_of_chunks(row, cut)
        z_BKE = self._widened(chunks.z_BKD)
        notes = Notes(jnp.zeros((), jnp.float32), {})
        if self.config.is_innermost:
            words = dict(train=train, mask_BT=cut.mask_BK)
            z_BKE = self.inner(z_BKE, inner_row.documents_BT, **words)
        else:
            z_BKE, notes = self.inner(z_BKE, inner_row, train=train)
        joined_BTD, memory_BKD = self._joined(encoded_BTD, z_BKE, read.p_BT, cut, row, inner_row)
        if self.config.up is not None:
            z_BKD = z_BKE[..., : self.config.back_width]
            is_own_BTK = _is_of_own_document(row, inner_row)
            joined_BTD = self.up_attention(joined_BTD, z_BKD, cut.chunk_of_BT, is_own_BTK)
        memory = self._memory(memory_BKD, cut, row, inner_row)
        stats = {f"{name}_{self.number}": value for name, value in chunks.stats.items()}
        own = Boundaries(p_BT, cut, row, read.own_BT)
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
        chunks, cut, _, read = self.chunker(encoded_BTD, row, capacity=x_BTD.shape[1])
        inner_row, n_chunks_B = row_of_chunks(row, cut), jnp.sum(cut.mask_BK, axis=1)
        z_BKE = self._widened(chunks.z_BKD)
        if self.config.is_innermost:
            z_BKE, inner = self.inner.prefill(z_BKE, n_chunks_B, cache.inner)
        else:
            z_BKE, inner = self.inner.prefill(z_BKE, inner_row, n_chunks_B, cache.inner)
        joined_BTD, memory_BKD = self._joined(encoded_BTD, z_BKE, read.p_BT, cut, row, inner_row)
        up = ()
        if self.config.up is not None:
            z_BKD = z_BKE[..., : self.config.back_width]
            joined_BTD, up = self.up_attention.prefill(
                joined_BTD, z_BKD, cut.chunk_of_BT, n_chunks_B, cache.up
            )
        memory = self._memory(memory_BKD, cut, row, inner_row)
        y_BTD, decoder = self.decoder.prefill(joined_BTD, lengths_B, cache.decoder, **memory)
        at_B11 = n_chunks_B[:, None, None] - 1
        memory_BD = jnp.take_along_axis(memory_BKD, at_B11, axis=1)[:, 0]
        last = self.chunker.last(encoded_BTD, row, cut, lengths_B)
        return y_BTD, StageCache(encoder, decoder, last, memory_BD, inner, up)

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
        read_B = self.chunker.router.read(p_B)
        z_BD, up = z_BE[:, : self.config.back_width], ()
        up_BD, memory_BD = self.back.step(z_BD, read_B, start_B, is_first_B, cache.memory_BD)
        adds_chunks = self.config.after.adds_chunks
        joined_BD = self._added(up_BD, encoded_BD) if adds_chunks else encoded_BD
        if self.config.up is not None:
            joined_BD, up = self.up_attention.step(joined_BD, z_BD, is_first_B, cache.up)
        memory = dict(memory_BD=memory_BD) if self.config.after.reads_chunks else {}
        y_BD, decoder = self.decoder.step(joined_BD, cache.decoder, is_real_B, **memory)
        last = keep(is_real_B, last, cache.last)
        return y_BD, StageCache(encoder, decoder, last, memory_BD, inner, up)

    def _widened(self, z_BKD):
        """Return chunks as wide as the inner network."""
        n_more = self.config.inner.width - self.config.chunk_width
        if not n_more:
            return z_BKD
        pad_BKE = jnp.broadcast_to(
            self.pad[None, None].astype(z_BKD.dtype), (*z_BKD.shape[:2], n_more)
        )
        return jnp.concatenate([z_BKD, pad_BKE], axis=-1)

    def _joined(self, encoded_BTD, z_BKE, p_BT, cut, row, inner_row):
        """Return what the decoder reads, in the compute dtype, and the memory of the way back."""
        z_BKD = z_BKE[..., : self.config.back_width]
        up_BTD, memory_BKD = self.back(z_BKD, p_BT, cut, inner_row.starts_BT)
        if not self.config.after.adds_chunks:
            return encoded_BTD, memory_BKD
        up_BTD = _of_own_document(up_BTD, cut, row, inner_row)
        return self._added(up_BTD, encoded_BTD), memory_BKD

    def _memory(self, memory_BKD, cut, row, inner_row):
        """Return what the decoder reads beside the stream, as its argument, if it does."""
        if not self.config.after.reads_chunks:
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


def _is_of_own_document(row, inner_row):
    """Return whether a chunk is of a position's document, bool[B, T, K]; None where all are read.

    A document of -1 stands at places without a chunk.
    """
    if row.documents_BT is None:
        return None
    documents_BK = jnp.where(inner_row.mask_BT, inner_row.documents_BT, -1)
    return row.documents_BT[..., None] == documents_BK[:, None]


def _run_inner(stage, z_BE, id_B, start_B, is_first_B, cache):
    if stage.config.is_innermost:
        return stage.inner.step(z_BE, cache, is_first_B)
    return stage.inner.step(z_BE, id_B, start_B, is_first_B, cache)


def _skip_inner(stage, z_BE, id_B, start_B, is_first_B, cache):
    del stage, id_B, start_B, is_first_B
    return jnp.zeros_like(z_BE), cache
