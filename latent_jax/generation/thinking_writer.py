"""Solutions of a reasoner as text, with the places where it thought."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.contracts import Thought, Variables, Written
from latent_jax.generation.prompts import decode_valid
from latent_jax.generation.rollout import Decoding, roll_out, rollout_flops
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.generation.written import END, FULL, LENGTH
from latent_jax.tasks.thinker import Thinker
from latent_jax.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class ThinkingWriter:
    """A `Writer` of solutions; a prompt is a question.

    Attributes:
        thinker: the reasoner.
        variables: its Flax collections.
        tokenizer: the one that it was trained with.
        prompt: the text before and behind a question, as in training.
        limit: slots in use of a block, at most; -1 = as in training.
        thinks: whether it may think at all.
    """

    thinker: Thinker
    variables: Variables
    tokenizer: Tokenizer
    prompt: tuple[str, str] = ("", "")
    limit: int = -1
    thinks: bool = True

    def with_thoughts(self, limit: int, thinks: bool) -> "ThinkingWriter":
        """Return a writer that thinks less, or not at all.

        Raises:
            ValueError: the limit is beyond the slots in use at the end of its training, or there is
                no block.
        """
        if not self.thinker.has_blocks:
            raise ValueError("this reasoner was trained without blocks: it does not think")
        most = self.thinker.most_in_use
        if limit > most:
            raise ValueError(f"k={limit} is more than the {most} slots of its training")
        return dataclasses.replace(self, limit=limit, thinks=thinks)

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """Return the most that a solution costs, whatever its length; see `Writer.flops`."""
        del n_prompt_ids, n_ids
        return rollout_flops(self.thinker, self.thinker.config.layout.text)

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """See `Writer.write`; texts are shown once, when they are written."""
        layout = self.thinker.config.layout
        before, behind = (part.encode("utf-8", "surrogatepass") for part in self.prompt)
        asked = [self.tokenizer.encode(before + prompt + behind) for prompt in prompts]
        longest = max(map(len, asked))
        if not all(map(bytes.strip, prompts)):
            raise ValueError("a prompt is empty: give a question")
        if longest >= layout.text:
            raise ValueError(
                f"a question of {longest} tokens leaves no room: rows have {layout.text} tokens of "
                "text; shorten it"
            )
        prompts_BT = np.full((len(asked), layout.text), self.thinker.separator_id, np.int32)
        for row, ids in zip(prompts_BT, asked, strict=True):
            row[: len(ids)] = ids
        lengths_B = np.array([*map(len, asked)], np.int32)
        decoding = Decoding(layout.text, sampling, self.thinks, self.limit)
        params = self.variables["params"]
        found = roll_out(
            self.thinker, params, jnp.array(prompts_BT), jnp.array(lengths_B), keys, decoding
        )
        found = jax.device_get(found)
        written = [self._written(prompts[row], found, row, n_bytes) for row in range(len(asked))]
        if show is not None:
            show([one.prompt + one.text for one in written])
        return written

    def _written(self, prompt: bytes, found: Rollout, row: int, n_bytes: int) -> Written:
        """Return the solution of a row, cut to so many bytes."""
        separator = self.thinker.separator_id
        is_new_T = found.segment_BT[row] > 0
        is_text_T = is_new_T & (found.ids_BT[row] != separator)
        ids = found.ids_BT[row][is_text_T]
        ((text, _),) = decode_valid(self.tokenizer, [ids])
        ends = np.cumsum(self.tokenizer.byte_lengths(ids))
        opens = found.opens_BT[row][is_text_T]
        thoughts = []
        for at in np.flatnonzero(opens):
            block = opens[at] - 1
            n_slots = int(found.n_BJ[row, block])
            said = b""
            if self.thinker.slots == "written":
                said = self.tokenizer.decode(found.written_BJK[row, block, :n_slots])
            thoughts.append(Thought(int(ends[at]), n_slots, said))
        stop = END if found.is_ended_B[row] else FULL
        if len(text) > n_bytes:
            stop, text = LENGTH, text[:n_bytes]
            thoughts = [one for one in thoughts if one.at <= n_bytes]
        nats = float(found.nats_BT[row][is_new_T].sum())
        return Written(prompt, prompt, text, int(is_new_T.sum()), nats, stop, tuple(thoughts))
