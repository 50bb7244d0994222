"""Text from a model over the ids of any tokenizer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from latent_jax.contracts import Written
from latent_jax.generation.decoders import Decoder
from latent_jax.generation.decoding import draw, start
from latent_jax.generation.prompts import decode_valid, open_ids
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.written import END, FULL, INVALID, LENGTH, padded
from latent_jax.tokenizers import Tokenizer

CHUNK = 32
"""Ids that are drawn between two looks at the text."""

MAX_IDS_PER_BYTE = 64
"""Ids drawn at most for a byte of text: a model over Deflate, for example, can draw empty blocks
without end."""


class TokenWriter:
    """A `Writer` over token ids.

    Args:
        decoder: of the model.
        variables: its Flax collections.
        tokenizer: the one that it was trained with.
        row_length: ids in a row of its training.
    """

    def __init__(
        self,
        decoder: Decoder,
        variables: Mapping[str, Any],
        tokenizer: Tokenizer,
        row_length: int,
    ):
        """Compile nothing yet."""
        self._decoder = decoder
        self._variables, self._tokenizer, self._row_length = variables, tokenizer, row_length

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """See `Writer.flops`; the FLOPs of an M1 that drives the tokenizer are not included."""
        n = n_prompt_ids + n_ids
        return n * self._decoder.forward_flops(n)

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """See `Writer.write`."""
        begun = self._begin(prompts)
        kept = [text for text, _ in decode_valid(self._tokenizer, begun)]
        room = self._room(begun, n_bytes)
        prompts_BT, lengths_B = padded(begun)
        lanes = start(
            self._decoder,
            self._variables,
            prompts_BT[:, : self._row_length - 1],
            lengths_B,
            n_slots=self._row_length,
            tracks_seen=sampling.needs_seen,
        )
        drawn = [_Lane() for _ in prompts]
        while True:
            lanes, new = draw(self._decoder, self._variables, lanes, keys, sampling, CHUNK)
            # Every call draws the same number, so that one program serves all; the last call may
            # draw more ids than there is room for.
            n_new = min(CHUNK, room - len(drawn[0].ids))
            for row, lane in enumerate(drawn):
                lane.append(new.ids_BN[row, :n_new], new.nats_BN[row, :n_new])
            self._decode(begun, drawn)
            texts = [k + lane.text(k, n_bytes) for k, lane in zip(kept, drawn, strict=True)]
            if show is not None:
                show(texts)
            is_over = [
                lane.stop or len(text) - len(k) >= n_bytes
                for k, lane, text in zip(kept, drawn, texts, strict=True)
            ]
            if all(is_over) or len(drawn[0].ids) >= room:
                break
        return [
            self._written(*parts, n_bytes)
            for parts in zip(prompts, kept, begun, drawn, strict=True)
        ]

    def _begin(self, prompts: Sequence[bytes]) -> list[np.ndarray]:
        """Return the ids that each lane begins with, behind the first one of every row."""
        return [open_ids(self._tokenizer, prompt) for prompt in prompts]

    def _room(self, begun: Sequence[np.ndarray], n_bytes: int) -> int:
        """Return how many ids can be drawn for each lane."""
        longest = max(map(len, begun))
        if longest >= self._row_length - 1:
            raise ValueError(
                f"a prompt of {longest} ids leaves no room: {self._tokenizer.name} was trained on "
                f"rows of {self._row_length} ids; shorten the prompt"
            )
        most = self._decoder.max_ids
        enough = MAX_IDS_PER_BYTE * n_bytes
        return min(most - longest, enough) if most else enough

    def _decode(self, begun: Sequence[np.ndarray], drawn: Sequence["_Lane"]) -> None:
        """Decode all lanes up to their end, and set why a lane stopped."""
        ends = [_find(lane.ids, self._decoder.separator_id) for lane in drawn]
        whole = [
            np.append(b, lane.ids[:end]) for b, lane, end in zip(begun, drawn, ends, strict=True)
        ]
        found = decode_valid(self._tokenizer, whole)
        for (text, n_valid), ids, lane, end in zip(found, whole, drawn, ends, strict=True):
            lane.whole, lane.valid = text, ids[:n_valid]
            is_valid = n_valid == len(ids)
            lane.stop = INVALID if not is_valid else END if end < len(lane.ids) else ""

    def _written(
        self, prompt: bytes, kept: bytes, begun: np.ndarray, lane: "_Lane", n_bytes: int
    ) -> Written:
        """Return the result of a lane; it counts the ids up to the one that ends the last byte."""
        text, stop, n_ids = lane.text(kept, n_bytes), lane.stop, len(lane.ids)
        if stop == END:
            n_ids = len(lane.valid) - len(begun) + 1  # the separator
        if len(text) >= n_bytes:
            ends = np.cumsum(self._tokenizer.byte_lengths(lane.valid))
            last = int(np.searchsorted(ends, len(kept) + len(text)))
            stop, n_ids = LENGTH, max(0, last + 1 - len(begun))
        return Written(prompt, kept, text, n_ids, float(lane.nats[:n_ids].sum()), stop or FULL)


class _Lane:
    """The ids drawn for one prompt, and the text of prompt and drawn ids together."""

    def __init__(self):
        self.ids, self.nats = np.zeros(0, np.int32), np.zeros(0, np.float32)
        self.whole, self.valid, self.stop = b"", self.ids, ""

    def append(self, ids, nats) -> None:
        self.ids = np.append(self.ids, np.asarray(ids))
        self.nats = np.append(self.nats, np.asarray(nats))

    def text(self, kept: bytes, n_bytes: int) -> bytes:
        return self.whole[len(kept) : len(kept) + n_bytes]


def _find(ids: np.ndarray, value: int) -> int:
    at = np.flatnonzero(ids == value)
    return int(at[0]) if len(at) else len(ids)
