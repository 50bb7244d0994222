"""Batches that a reasoner writes itself: groups of solutions with their advantages.

A group is several solutions of one problem. The reward is 1 for a right answer and 0 for a wrong
one, as the verifier says, and the advantage is the reward relative to the group's (Shao et al.
2024, "DeepSeekMath", section 4.1). A group whose solutions are all right, or all wrong, teaches
nothing: its advantages are 0.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import jax
import numpy as np

from latent_jax.contracts import Batch, Variables, amount_key
from latent_jax.data.problem_rows import AMOUNTS
from latent_jax.data.problems import END_MARK
from latent_jax.data.verifier import is_right
from latent_jax.generation.rollout import Decoding, roll_out
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.solutions import prompts_of
from latent_jax.ranges import Natural, Weight, at_least, check_fields, more_than, one_of, within
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_noise import GRADIENTS, N_SEEDS
from latent_jax.tokenizers import Tokenizer

FLOOR = 1e-4
"""Added to the standard deviation of a group's rewards."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The second phase: reinforcement learning with verifiable rewards.

    Raises:
        ValueError: a value is out of range.
    """

    group: Natural = 0  # solutions of each problem; 0 = the first phase, supervised
    temperature: Annotated[float, more_than(0, 100)] = 1.0  # of tokens and decisions
    segment: Annotated[int, at_least(1, 2**16)] = 16  # tokens of a segment, at most
    # share of tokens that count in the loss, those of the highest entropy; 1 = all
    fork_share: Annotated[float, within("(0, 1]")] = 1.0
    # how thoughts are explored and trained, see tasks.thought_noise: through | stop | gaussian |
    # dropout
    gradient: Annotated[str, one_of(GRADIENTS)] = "through"
    # of gaussian: deviation, in root mean squares of a thought; of dropout: share of features
    noise: Annotated[float, within("(0, 1)")] = 0.1
    # taken from the reward for each slot in use, in groups half of which are right; 0 = none
    length_price: Weight = 0.0

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "policy.")
        if self.group == 1:
            raise ValueError(
                "policy.group=1: a solution is compared with others of its problem; give 2 or more,"
                " or 0 for the first phase"
            )


def advantages(rewards_PG: np.ndarray) -> np.ndarray:
    """Return (r - mean) / (standard deviation + `FLOOR`) of each group, float32[P, G]."""
    centred = rewards_PG - rewards_PG.mean(axis=1, keepdims=True)
    return (centred / (rewards_PG.std(axis=1, keepdims=True) + FLOOR)).astype(np.float32)


class RolloutStream:
    """A `Stream` of solutions; see `contracts.Stream`."""

    def __init__(
        self,
        thinker: Thinker,
        problems: Iterator[Batch],
        tokenizer: Tokenizer,
        config: PolicyConfig,
    ):
        """Write nothing yet.

        Args:
            thinker: the reasoner.
            problems: an endless iterator over batches of problems, with a state.
            tokenizer: of their ids.
            config: of the second phase.
        """
        self._thinker, self._problems = thinker, problems
        self._tokenizer, self._config = tokenizer, config
        self._decoding = Decoding(config.segment, Sampling(config.temperature, top_k=0, top_p=1.0))

    def next(self, variables: Variables, key: jax.Array) -> Batch:
        """Return solutions of the next problems; see `contracts.Stream`."""
        group, layout = self._config.group, self._thinker.config.layout
        problems = Problems.of(next(self._problems), layout)
        prompts_PT, lengths_P = prompts_of(problems, self._thinker.separator_id)
        prompts_BT, lengths_B = (
            jax.numpy.repeat(x, group, axis=0) for x in (prompts_PT, lengths_P)
        )
        keys_B = jax.random.split(key, len(prompts_BT))
        seeds_B = jax.random.randint(jax.random.fold_in(key, 1), keys_B.shape, 0, N_SEEDS)
        found = roll_out(
            self._thinker,
            variables["params"],
            prompts_BT,
            lengths_B,
            keys_B,
            self._decoding,
            seeds_B if self._thinker.noise.is_drawn else None,
        )
        fields = jax.device_get(found.fields(layout, self._thinker.separator_id))
        segments, n_slots = jax.device_get((found.segment_BT, found.n_BJ.sum(axis=1)))
        ids = fields["ids"][:, : layout.text]
        solutions = self._texts(ids, segments > 0)
        known = self._texts(*jax.device_get((problems.ids_BT, problems.segment_BT > 0)))
        answers = [text.rpartition(END_MARK)[2].strip() for text in known]
        right = [
            is_right(text, answers[row // group], strict=True) for row, text in enumerate(solutions)
        ]
        rewards = np.array(right, np.float32).reshape(-1, group)
        priced = self._priced(rewards, n_slots.reshape(-1, group))
        n_rows, length = fields["ids"].shape
        amounts = {
            "bytes": [len(text.encode("utf-8", "surrogateescape")) for text in solutions],
            "problems": [1] * n_rows,
        }
        return {
            **fields,
            "advantage": np.tile(advantages(priced).reshape(-1, 1), (1, length)),
            "reward": np.tile(rewards.reshape(-1, 1), (1, length)),
            "noise_seed": np.tile(np.array(seeds_B, np.float32)[:, None], (1, length)),
            "weights": np.ones((n_rows, length), np.float32),
            **{amount_key(unit): np.array(amounts[unit], np.int32) for unit in AMOUNTS},
        }

    def get_state(self) -> Any:
        """Return the place in the problems."""
        return self._problems.get_state()

    def set_state(self, state: Any) -> None:
        """Go to a place in the problems."""
        self._problems.set_state(state)

    def close(self) -> None:
        """End the workers that read problems."""
        self._problems.close()

    def _texts(self, ids_BT: np.ndarray, is_answer_BT: np.ndarray) -> Sequence[str]:
        """Return the answers in rows as text; bytes that are no UTF-8 are kept apart."""
        separator = self._tokenizer.separator_id
        rows = [
            ids[mask & (ids != separator)] for ids, mask in zip(ids_BT, is_answer_BT, strict=True)
        ]
        return [
            text.decode("utf-8", "surrogateescape") for text in self._tokenizer.decode_batch(rows)
        ]

    def _priced(self, rewards_PG: np.ndarray, n_slots_PG: np.ndarray) -> np.ndarray:
        """Return rewards less the price of slots, in groups half of which are right."""
        is_known_P1 = rewards_PG.mean(axis=1, keepdims=True) >= 0.5
        return rewards_PG - self._config.length_price * n_slots_PG * is_known_P1
