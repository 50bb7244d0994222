"""Text from a latent language model: encode the prompt, draw codes, decode all at once.

Fifty 2025, "Language, Entropy, and Language Modeling": generation happens in latent space only, and
one decoding at the end turns all codes, the prompt's included, into bytes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.contracts import Written
from latent_jax.generation.decoders import CodeDecoder
from latent_jax.generation.decoding import draw, start
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.written import END, FULL, LENGTH
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig
from latent_jax.tokenizers import Tokenizer


class LatentWriter:
    """A `Writer` over codes.

    The encoder reads whole groups of C bytes. So separators are put before a prompt to fill up its
    first group, as they stand before texts in training.

    Args:
        config: of a model with discrete latents.
        variables: its Flax collections.
        tokenizer: of bytes, one id each.
        row_length: bytes in a row of its training.
    """

    def __init__(
        self,
        config: LatentLMConfig,
        variables: Mapping[str, Any],
        tokenizer: Tokenizer,
        row_length: int,
    ):
        """Compile nothing yet."""
        self._config, self._variables, self._tokenizer = config, variables, tokenizer
        self._factor = config.autoencoder.compressor.factor
        self._n_groups = row_length // self._factor
        self._decoder = CodeDecoder(config)

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """See `Writer.flops`; ids are codes. The encoder reads the prompt, other parts read all."""
        parts = self._config.forward_flops((n_prompt_ids + n_ids) * self._factor)
        encode = sum(parts.pop(name) for name in ("encoder", "compressor", "quantizer"))
        read = n_prompt_ids * self._factor
        return read * encode + (n_prompt_ids + n_ids) * self._factor * sum(parts.values())

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """See `Writer.write`; nothing can be shown before all codes are drawn."""
        ids = [self._tokenizer.encode(prompt) for prompt in prompts]
        n_groups = np.array([-(-len(row) // self._factor) for row in ids], np.int32)
        if n_groups.max() >= self._n_groups:
            raise ValueError(
                f"a prompt of {max(map(len, ids))} bytes leaves no room: the model reads rows of "
                f"{self._n_groups * self._factor}; shorten the prompt"
            )
        n_new = min(-(-n_bytes // self._factor), self._n_groups - int(n_groups.max()))
        codes_BK = _encode(self._config, self._variables, *self._rows(ids, n_groups))
        width = min(-(-max(1, int(n_groups.max())) // 32) * 32, self._n_groups - 1)
        lanes = start(
            self._decoder,
            self._variables,
            codes_BK[:, :width],
            n_groups,
            self._n_groups,
            tracks_seen=sampling.needs_seen,
        )
        _, drawn = draw(self._decoder, self._variables, lanes, keys, sampling, n_new)
        new_BN, nats_B = np.asarray(drawn.ids_BN), np.asarray(drawn.nats_BN).sum(axis=1)
        codes_BK = np.array(codes_BK)
        for row, n in enumerate(n_groups):
            codes_BK[row, n : n + n_new] = new_BN[row]
        mask_BK = np.arange(self._n_groups)[None] < (n_groups + n_new)[:, None]
        rows = np.asarray(_decode(self._config, self._variables, codes_BK, mask_BK))
        written = []
        for row, prompt in enumerate(prompts):
            first = n_groups[row] * self._factor
            kept = rows[row, first - len(ids[row]) : first]
            new = rows[row, first : first + n_new * self._factor][:n_bytes]
            at = np.flatnonzero(new == self._tokenizer.separator_id)
            text = self._tokenizer.decode(new[: at[0]] if len(at) else new)
            stop = END if len(at) else LENGTH if len(new) == n_bytes else FULL
            kept = self._tokenizer.decode(kept)
            written.append(Written(prompt, kept, text, n_new, float(nats_B[row]), stop))
        if show is not None:
            show([one.kept + one.text for one in written])
        return written

    def _rows(self, ids: Sequence[np.ndarray], n_groups: np.ndarray):
        """Return rows of ids int32[B, T], and bool[B, T], True up to the end of each prompt."""
        length = self._n_groups * self._factor
        ids_BT = np.full((len(ids), length), self._tokenizer.separator_id, np.int32)
        ends = n_groups * self._factor
        for row, (values, end) in enumerate(zip(ids, ends, strict=True)):
            ids_BT[row, end - len(values) : end] = values
        return ids_BT, np.arange(length)[None] < ends[:, None]


@functools.partial(jax.jit, static_argnames="config")
def _encode(config: LatentLMConfig, variables, ids_BT: jax.Array, mask_BT: jax.Array) -> jax.Array:
    model = LatentLanguageModel(config)
    return model.apply(variables, ids_BT, mask_BT, method=LatentLanguageModel.encode_codes)[0]


@functools.partial(jax.jit, static_argnames="config")
def _decode(config: LatentLMConfig, variables, codes_BK: jax.Array, mask_BK: jax.Array):
    mask_BT = jnp.repeat(mask_BK, config.autoencoder.compressor.factor, axis=1)
    model = LatentLanguageModel(config)
    logits_BTV = model.apply(
        variables, codes_BK, mask_BK, mask_BT, method=LatentLanguageModel.decode_codes
    )
    return jnp.argmax(logits_BTV, axis=-1)
