"""Answers of a published model in its chat: a prompt is a message of the user."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from latent_jax.contracts import Written
from latent_jax.generation.decoders import TokenDecoder
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.token_writer import TokenWriter
from latent_jax.models.gpt import GPTConfig
from latent_jax.tokenizers import Tokenizer
from latent_jax.tokenizers.chat import Chat, Message


class ChatWriter(TokenWriter):
    """A `Writer` of answers. An answer ends with the mark that ends a message.

    Args:
        config: of the GPT.
        variables: its Flax collections.
        tokenizer: of the model.
        row_length: ids of question and answer together that the model attends to.

    Raises:
        ValueError: the model has no chat.
    """

    def __init__(
        self, config: GPTConfig, variables: Mapping[str, Any], tokenizer: Tokenizer, row_length: int
    ):
        """Read the form of the chat."""
        self._chat = Chat(tokenizer)
        # The first mark of a chat stands where texts have the separator.
        decoder = TokenDecoder(config, self._chat.end_id, self._chat.begin_id)
        super().__init__(decoder, variables, tokenizer, row_length)

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """See `Writer.flops`; what the template adds to a prompt is read too."""
        n_added = len(self._chat.ids([Message("user", b"")]))
        return super().flops(n_prompt_ids + n_added, n_ids)

    def _begin(self, prompts: Sequence[bytes]) -> list[np.ndarray]:
        return [self._chat.ids([Message("user", prompt)])[1:] for prompt in prompts]

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """See `Writer.write`; `show` gets answers alone."""
        before = [len(self._tokenizer.decode(ids)) for ids in self._begin(prompts)]

        def show_answers(texts: Sequence[bytes]) -> None:
            show([text[n:] for text, n in zip(texts, before, strict=True)])

        shown = None if show is None else show_answers
        written = super().write(prompts, keys, sampling, n_bytes, shown)
        return [dataclasses.replace(one, kept=one.prompt) for one in written]
