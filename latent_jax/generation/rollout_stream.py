"""Batches that a reasoner writes itself: groups of solutions with their advantages.

A group is several solutions of one problem. The reward is 1 for a right answer and 0 for a wrong
one, as the verifier says, and the advantage is the reward relative to the group's (Shao et al.
2024, "DeepSeekMath", section 4.1). A group whose solutions are all right, or all wrong, teaches
nothing: its advantages are 0.

A roll-out may serve several updates. Then it carries how likely its actions were under the weights
that wrote them, and it is part of the stream's state until its last update, because these weights
are gone once the first one is made.
"""

import base64
import functools
import io
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from latent_jax.contracts import Batch, Variables, amount_key
from latent_jax.data.problem_rows import AMOUNTS
from latent_jax.data.verifier import is_right
from latent_jax.generation.rollout import Decoding, roll_out
from latent_jax.generation.sampling import Sampling
from latent_jax.generation.solution_arrays import answer_of, texts_of
from latent_jax.generation.solutions import prompts_of
from latent_jax.tasks.actions import act_again, spread
from latent_jax.tasks.policy_config import GROUP_REWARD, OLD_NATS, REFERENCE_NATS, PolicyConfig
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_noise import N_SEEDS
from latent_jax.tokenizers import Tokenizer

FLOOR = 1e-4
"""Added to the standard deviation of a group's rewards."""


def advantages(rewards_PG: np.ndarray) -> np.ndarray:
    """Return (r - mean) / (standard deviation + `FLOOR`) of each group, float32[P, G]."""
    centred = rewards_PG - rewards_PG.mean(axis=1, keepdims=True)
    return (centred / (rewards_PG.std(axis=1, keepdims=True) + FLOOR)).astype(np.float32)


def group_rewards(rewards_BL: np.ndarray, group: int) -> np.ndarray:
    """Return the mean reward of each row's group, float32[B, L]; groups are rows side by side."""
    means = rewards_BL.reshape(-1, group, rewards_BL.shape[1]).mean(axis=1)
    return np.repeat(means, group, axis=0).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("thinker", "temperature"))
def _nats(
    thinker: Thinker, params: Mapping[str, Any], batch: Batch, temperature: float
) -> jax.Array:
    """Return -log p of the actions of a roll-out under any weights, float32[B, 2, L]."""
    _, actions = act_again(thinker, params, batch, temperature)
    return actions.nats_B2L


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
        # The roll-out whose updates are not all made, and how many are left.
        self._written: Batch | None = None
        self._n_left = 0
        # Since `measured` was asked.
        self._seconds, self._n_tokens = 0.0, 0

    def next(self, variables: Variables, key: jax.Array) -> Batch:
        """Return solutions of the next problems, or those that have updates left; see `Stream`."""
        if not self._n_left:
            # The update before this roll-out is no part of its time.
            jax.block_until_ready(variables)
            start = time.monotonic()
            self._written, self._n_left = self._write(variables, key), self._config.updates
            self._seconds += time.monotonic() - start
        self._n_left -= 1
        batch = self._written
        if not self._n_left:
            self._written = None
        return batch

    def measured(self, seconds: float) -> dict[str, float]:
        """Return what roll-outs took of the time since the last call; see `contracts.Stream`.

        The first roll-out of a run also compiles.

        Args:
            seconds: of training since then.
        """
        share, n_tokens = self._seconds / max(seconds, 1e-9), self._n_tokens
        metrics = {"rollout_time_share": share, "update_time_share": 1 - share}
        if self._seconds:
            metrics["rollout_tokens_per_second"] = n_tokens / self._seconds
        self._seconds, self._n_tokens = 0.0, 0
        return metrics

    def get_state(self) -> Any:
        """Return the place in the problems, and the roll-out whose updates are not all made."""
        state = self._problems.get_state()
        if self._config.updates == 1:
            return state
        written = None if self._written is None else _packed(self._written)
        return {"problems": state, "n_left": self._n_left, "written": written}

    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` returned."""
        if self._config.updates > 1:
            written = state["written"]
            self._written = None if written is None else _unpacked(written)
            if self._written and GROUP_REWARD not in self._written:  # of an older version
                rewards_BL = self._written["reward"]
                self._written[GROUP_REWARD] = group_rewards(rewards_BL, self._config.group)
            self._n_left = state["n_left"]
            state = state["problems"]
        self._problems.set_state(state)

    def close(self) -> None:
        """End the workers that read problems."""
        self._problems.close()

    def _write(self, variables: Variables, key: jax.Array) -> Batch:
        """Return solutions of the next problems."""
        group, layout = self._config.group, self._thinker.config.layout
        problems = Problems.of(next(self._problems), layout)
        prompts_PT, lengths_P = prompts_of(problems, self._thinker.separator_id)
        prompts_BT, lengths_B = (
            jax.numpy.repeat(x, group, axis=0) for x in (prompts_PT, lengths_P)
        )
        lanes_key, noise_key = jax.random.split(key)
        keys_B = jax.random.split(lanes_key, len(prompts_BT))
        seeds_B = jax.random.randint(noise_key, keys_B.shape, 0, N_SEEDS)
        found = roll_out(
            self._thinker,
            variables["params"],
            prompts_BT,
            lengths_B,
            keys_B,
            self._decoding,
            seeds_B if self._thinker.noise.is_drawn else None,
        )
        # What is read again stays on the devices that wrote it, rows over "data".
        written = found.fields(layout, self._thinker.separator_id)
        again = self._read_again(variables, written, seeds_B, found.thoughts_BJKD)
        fields, again = jax.device_get((written, again))
        segments, n_slots = jax.device_get((found.segment_BT, found.n_BJ.sum(axis=1)))
        self._n_tokens += int((segments > 0).sum())
        ids = fields["ids"][:, : layout.text]
        solutions = texts_of(self._tokenizer, ids, segments > 0)
        known = jax.device_get((problems.ids_BT, problems.segment_BT > 0))
        answers = [answer_of(text) for text in texts_of(self._tokenizer, *known)]
        right = [
            is_right(text, answers[row // group], strict=True) for row, text in enumerate(solutions)
        ]
        rewards = np.array(right, np.float32).reshape(-1, group)
        advantages_PG = advantages(rewards) - self._prices(rewards, n_slots.reshape(-1, group))
        n_rows, length = fields["ids"].shape
        rewards_BL = np.tile(rewards.reshape(-1, 1), (1, length))
        amounts = {
            "bytes": [len(text.encode("utf-8", "surrogateescape")) for text in solutions],
            "problems": [1] * n_rows,
        }
        return {
            **fields,
            **again,
            "advantage": np.tile(advantages_PG.reshape(-1, 1), (1, length)),
            "reward": rewards_BL,
            GROUP_REWARD: group_rewards(rewards_BL, group),
            "noise_seed": np.tile(np.array(seeds_B, np.float32)[:, None], (1, length)),
            "weights": np.ones((n_rows, length), np.float32),
            **{amount_key(unit): np.array(amounts[unit], np.int32) for unit in AMOUNTS},
        }

    def _read_again(self, variables: Variables, written: Batch, seeds_B, thoughts_BJKD) -> Batch:
        """Return what a roll-out carries for comparisons with other weights."""
        config, fields = self._config, {}
        if config.keeps_thoughts:
            layout, width = self._thinker.config.layout, self._thinker.config.model.d_model
            size = config.fields(layout, width)["thoughts"].shape
            fields["thoughts"] = spread(thoughts_BJKD, layout.length, *size)
        batch = {**written, **fields, "noise_seed": seeds_B[:, None]}
        batch["weights"] = jax.numpy.ones_like(batch["noise_seed"])
        for is_asked, names, of in (
            (config.updates > 1, OLD_NATS, "params"),
            (config.kl > 0, REFERENCE_NATS, "reference"),
        ):
            if is_asked:
                nats_B2L = _nats(self._thinker, variables[of], batch, config.temperature)
                fields |= dict(zip(names, (nats_B2L[:, 0], nats_B2L[:, 1]), strict=True))
        return fields

    def _prices(self, rewards_PG: np.ndarray, n_slots_PG: np.ndarray) -> np.ndarray:
        """Return what slots beyond the group's mean cost, in groups half of which are right.

        They are no part of the reward: divided by its deviation, any price would weigh the same
        where all solutions are right.
        """
        is_known_P1 = rewards_PG.mean(axis=1, keepdims=True) >= 0.5
        beyond_PG = n_slots_PG - n_slots_PG.mean(axis=1, keepdims=True)
        return (self._config.length_price * beyond_PG * is_known_P1).astype(np.float32)


def _packed(batch: Batch) -> str:
    """Return arrays as text that JSON holds, bit for bit."""
    file = io.BytesIO()
    np.savez_compressed(file, **batch)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _unpacked(text: str) -> dict[str, np.ndarray]:
    """Return the arrays that `_packed` was given."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as arrays:
        return dict(arrays)
