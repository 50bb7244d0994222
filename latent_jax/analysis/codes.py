"""Codes, which turn texts into ids: the common interface that analyses measure.

A tokenizer is a code, and so are the learned latents of a trained run. An analysis uses only this
interface, so that every code is measured on the same texts in the same way.
"""

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.bars import Bar
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig
from latent_jax.tokenizers import EqualInfoAC, Tokenizer
from latent_jax.tokenizers.base import TableTokenizer

Records = Sequence[Mapping[str, Any]]
"""Flat records: unrounded, with units in the names of the keys."""

Tables = dict[str, list[dict[str, Any]]]
"""Lists of flat records, by the name of the table. `measure` of an analysis returns them for one
code or run; its `show` and `draw` take those of all codes or runs, joined."""

CHUNK_TEXTS = 256
"""Texts that are encoded together: several times as many as M1 codes side by side."""


class TrainedRun(Protocol):
    """The parts of a run that analyses need: its configuration and its model.

    Attributes:
        config: the configuration that it was trained with; it has `method` and `row_length`.
        tokenizer: the one that it was trained with.
        task: the trained task; it has `model_config`.
        variables: the Flax collections of one checkpoint.
    """

    config: Any
    tokenizer: Tokenizer
    task: Any
    variables: Mapping[str, Any]


class Coded(NamedTuple):
    """One text in a code.

    Attributes:
        ids: int32[n].
        byte_lengths: int32[n], the raw bytes that each id stands for; they add up to the text.
    """

    ids: np.ndarray
    byte_lengths: np.ndarray


class Code(abc.ABC):
    """Texts to ids and back.

    Attributes:
        name: the literature name.
        n_ids: how many ids there are; they lie in [0, n_ids).
        window_tokens: ids in a group, after which windows of equal information begin again at the
            same place; 1 for codes without windows, or with windows of one id.
        pieces: the text of each id, if it does not depend on neighbours; else None.
    """

    name: str
    n_ids: int
    window_tokens: int = 1
    pieces: tuple[bytes, ...] | None = None

    @abc.abstractmethod
    def encode(self, texts: Sequence[bytes]) -> list[Coded]:
        """Return each text in the code; texts are encoded independently."""

    @abc.abstractmethod
    def decode(self, batch: Sequence[np.ndarray]) -> list[bytes]:
        """Return the text of each sequence of ids, int32[n], decoded from its first id.

        Raises:
            ValueError: a sequence does not decode, which only some codes do.
        """


def encode_texts(code: Code, texts: Sequence[bytes]) -> list[Coded]:
    """Return each text in a code, and show progress in bytes."""
    coded: list[Coded] = []
    with Bar(code.name, sum(map(len, texts)), "B") as bar:
        for start in range(0, len(texts), CHUNK_TEXTS):
            chunk = texts[start : start + CHUNK_TEXTS]
            coded += code.encode(chunk)
            bar.update(sum(map(len, chunk)))
    return coded


class TokenizerCode(Code):
    """A tokenizer as a code."""

    def __init__(self, tokenizer: Tokenizer):
        """Take a tokenizer; its separator is left out of the code's ids if it is the last id."""
        self.tokenizer = tokenizer
        self.name = tokenizer.name
        is_last = tokenizer.separator_id == tokenizer.vocab_size - 1
        self.n_ids = tokenizer.vocab_size - is_last
        if isinstance(tokenizer, TableTokenizer):
            self.pieces = tokenizer.pieces[: self.n_ids]
        if isinstance(tokenizer, EqualInfoAC):
            bits = math.lcm(tokenizer.window_bits, tokenizer.token_bits)
            self.window_tokens = bits // tokenizer.token_bits

    def encode(self, texts: Sequence[bytes]) -> list[Coded]:
        """See `Code.encode`."""
        return [Coded(*coded) for coded in self.tokenizer.encode_batch(texts)]

    def decode(self, batch: Sequence[np.ndarray]) -> list[bytes]:
        """See `Code.decode`."""
        return self.tokenizer.decode_batch(batch)


class LatentCode(Code):
    """The latents of a trained model as a code; texts longer than a row are cut.

    Args:
        name: the literature name.
        config: of the model; its latents are discrete.
        variables: Flax collections of the model.
        tokenizer: makes one id of each byte, for the encoder.
        row_length: bytes in a row.
        batch_size: rows at a time.
    """

    def __init__(
        self,
        name: str,
        config: LatentLMConfig,
        variables: Mapping[str, Any],
        tokenizer: Tokenizer,
        row_length: int,
        batch_size: int = 16,
    ):
        """Compile nothing yet."""
        self.name, self.n_ids = name, config.autoencoder.quantizer.codebook_size
        self.factor = config.autoencoder.compressor.factor
        self._tokenizer, self._length, self._rows = tokenizer, row_length, batch_size
        model = LatentLanguageModel(config)
        self._encode = jax.jit(
            lambda ids_BT, mask_BT: model.apply(
                variables, ids_BT, mask_BT, method=LatentLanguageModel.encode_codes
            )
        )
        # The separator is excluded: the encoded texts hold none.
        self._decode = jax.jit(
            lambda codes_BK, mask_BK, mask_BT: jnp.argmax(
                model.apply(
                    variables, codes_BK, mask_BK, mask_BT, method=LatentLanguageModel.decode_codes
                )[..., : tokenizer.separator_id],
                axis=-1,
            )
        )

    def encode(self, texts: Sequence[bytes]) -> list[Coded]:
        """See `Code.encode`."""
        ids = [self._tokenizer.encode(text) for text in texts]
        rows, owners = _cut(ids, self._length)
        coded = [Coded(np.zeros(0, np.int32), np.zeros(0, np.int32)) for _ in texts]
        for start in range(0, len(rows), self._rows):
            ids_BT, mask_BT = _pad(rows[start : start + self._rows], self._rows, self._length)
            codes_BK, is_real_BK = jax.tree.map(np.asarray, self._encode(ids_BT, mask_BT))
            owned = owners[start : start + self._rows]
            for row, owner in enumerate(owned):
                codes_K = codes_BK[row, is_real_BK[row]]
                lengths_K = np.full(len(codes_K), self.factor, np.int32)
                lengths_K[-1] -= -len(rows[start + row]) % self.factor
                coded[owner] = Coded(
                    np.concatenate([coded[owner].ids, codes_K]),
                    np.concatenate([coded[owner].byte_lengths, lengths_K]),
                )
        return coded

    def decode(self, batch: Sequence[np.ndarray]) -> list[bytes]:
        """See `Code.decode`; every code gives `factor` bytes, the last one of a text too."""
        per_row = self._length // self.factor
        rows, owners = _cut([np.asarray(ids) for ids in batch], per_row)
        texts = [b"" for _ in batch]
        for start in range(0, len(rows), self._rows):
            codes_BK, mask_BK = _pad(rows[start : start + self._rows], self._rows, per_row)
            mask_BT = np.repeat(mask_BK, self.factor, axis=1)
            mask_BT = np.pad(mask_BT, ((0, 0), (0, self._length - mask_BT.shape[1])))
            ids_BT = np.asarray(self._decode(codes_BK, mask_BK, mask_BT))
            owned = owners[start : start + self._rows]
            for owner, ids_T, mask_T in zip(owned, ids_BT, mask_BT, strict=False):
                texts[owner] += self._tokenizer.decode(ids_T[mask_T])
        return texts


def score_ids(logits_BTV: jax.Array, ids_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return -log p of each id in nats, float32[B, T], and if it is the likeliest, bool[B, T]."""
    log_p_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
    nats_BT = -jnp.take_along_axis(log_p_BTV, ids_BT[..., None], axis=-1)[..., 0]
    return nats_BT, jnp.argmax(logits_BTV, axis=-1) == ids_BT


def _cut(sequences: Sequence[np.ndarray], length: int) -> tuple[list[np.ndarray], list[int]]:
    """Return pieces of at most `length` ids, and which sequence each comes from."""
    pieces, owners = [], []
    for owner, ids in enumerate(sequences):
        for start in range(0, len(ids), length):
            pieces.append(ids[start : start + length])
            owners.append(owner)
    return pieces, owners


def _pad(rows: Sequence[np.ndarray], n_rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int32[n_rows, length] and bool[n_rows, length], True where a row has an id."""
    ids = np.zeros((n_rows, length), np.int32)
    mask = np.zeros((n_rows, length), bool)
    for row, piece in enumerate(rows):
        ids[row, : len(piece)] = piece
        mask[row, : len(piece)] = True
    return ids, mask
