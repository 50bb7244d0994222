"""The second phase of latent reasoning: solutions are written, and the right ones made likelier.

Reinforcement learning with verifiable rewards by group-relative policy optimization (Shao et al.
2024, "DeepSeekMath", section 4.1), with one update per roll-out, so that the ratio to the policy
that wrote is 1 and clipping has no effect:

    loss = - sum over solutions of advantage * log p(actions) / (solutions * longest solution)

The sum is divided by a constant, so that long wrong solutions are not spared (Liu et al. 2025, "Dr.
GRPO"). Actions are tokens, written thoughts, opening a block, and ending to think. Thoughts are no
actions, unless noise makes them some: they are computed again, and the gradient of what follows
flows through them; see `thought_noise`.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from latent_jax.models.trunks import Trunks
from latent_jax.ranges import check_fields, within
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import binary_nats, logits, slot_nats, total
from latent_jax.tasks.thinker import Pass


@dataclasses.dataclass(frozen=True)
class Policy:
    """The task of a reasoner that learns from its own solutions.

    Attributes:
        supervised: the first phase, by whose scores held-out problems are judged.
        fork_share: the share of tokens that count, those of the highest entropy (Wang et al. 2025,
            "Beyond the 80/20 Rule", section 4); 1 = all.
        rollout_flops: forward FLOPs of writing a solution.

    Raises:
        ValueError: a value is out of range.
    """

    supervised: LatentReasoning
    fork_share: Annotated[float, within("(0, 1]")] = 1.0
    rollout_flops: float = 0.0
    name = "policy"
    tokenizer_flops_per_byte = 0.0
    fields = (*LatentReasoning.fields, "advantage", "reward", "noise_seed")

    def __post_init__(self):
        check_fields(self, "policy.")

    @property
    def thinker(self):
        """The reasoner, and what its slots hold."""
        return self.supervised.thinker

    @property
    def model_config(self):
        """The config of the reasoner."""
        return self.thinker.config

    @property
    def headline(self):
        """The share of held-out problems that are solved wrongly."""
        return "wrong_share"

    @property
    def frozen(self):
        """See `Task` and `Thinker.frozen`."""
        return self.thinker.frozen

    @property
    def amounts(self):
        """See `LatentReasoning`; bytes are those of solutions that were written."""
        return self.supervised.amounts

    @property
    def stacks(self):
        """See `LatentReasoning`."""
        return self.supervised.stacks

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte of the update and of writing, see `Task`."""
        n_bytes = self.supervised.bytes_per_position * self.model_config.layout.length
        return self.supervised.component_flops | {"rollout": self.rollout_flops / n_bytes}

    @property
    def flops_per_byte(self):
        """The sum of `component_flops`, see `Task`."""
        return sum(self.component_flops.values())

    @property
    def train_flops_per_byte(self):
        """FLOPs per raw byte of writing, and of the update forward and backward; see `Task`."""
        rollout = self.component_flops["rollout"]
        return self.supervised.train_flops_per_byte + rollout

    def train_flops(self, seen):
        """Return the FLOPs of training on `seen["problems"]` solutions; see `Task`.

        Solutions are as long as they are, and cost what a row costs.
        """
        per_problem = self.model_config.layout.length * self.supervised.bytes_per_position
        return self.train_flops_per_byte * per_problem * seen["problems"]

    def init(self, key, batch):
        """Draw parameters; see `Task`."""
        return self.supervised.init(key, batch)

    def loss(self, variables, batch, key, step, train):
        """Return the loss of written solutions; see `Task`."""
        del key, step, train
        trunks = Trunks(self.model_config, variables["params"])
        problems = Problems.of(batch, self.model_config.layout)
        limit_BJ = problems.n_written_BJ if self.thinker.ends else None
        stage = jnp.int32(self.thinker.n_thoughts)
        seeds_B = None
        if self.thinker.noise.kind != "through":
            seeds_B = batch["noise_seed"][:, 0].astype(jnp.int32)
        found = self.thinker.run(trunks, problems, stage, limit_BJ, seeds_B)
        advantage_B = batch["advantage"][:, 0]
        nats_B, entropy_sum, n_tokens = self._action_nats(trunks, problems, found)
        n_problems = jnp.sum(batch["n_problems"]).astype(jnp.float32)
        objective = jnp.sum(advantage_B * nats_B) / self.model_config.layout.text
        scores = {
            "weight": n_problems,
            "n_bytes": jnp.sum(batch["n_bytes"]),
            "n_problems": jnp.sum(batch["n_problems"]),
            "reward": jnp.sum(batch["reward"][:, 0]),
            "n_contrast": total(advantage_B != 0),
            "entropy": entropy_sum,
            "n_tokens_written": n_tokens,
            "n_opened": total(problems.breakpoints_BJ > 0),
        }
        return objective / jnp.maximum(n_problems, 1.0), (scores, {})

    def evaluate(self, variables, batch):
        """Return the sums of the first phase; see `LatentReasoning.evaluate`."""
        return self.supervised.evaluate(variables, batch)

    def summarize(self, sums):
        """Return the metrics of held-out problems, or of solutions in training; see `Task`."""
        if "reward" not in sums:
            return self.supervised.summarize(sums)
        n = max(float(sums["weight"]), 1.0)
        return {
            "reward": float(sums["reward"]) / n,
            "contrast_share": float(sums["n_contrast"]) / n,
            "entropy_nats_per_token": float(sums["entropy"])
            / max(float(sums["n_tokens_written"]), 1.0),
            "blocks_per_solution": float(sums["n_opened"]) / n,
        }

    def _action_nats(self, trunks: Trunks, problems: Problems, found: Pass):
        """Return -log p of each row's actions, the sum of entropies, and the number of tokens."""
        # Segment 0 is written behind the text, all others behind their blocks.
        parts = [(found.text.x_BTD, problems.ids_BT, problems.segment_BT == 1)]
        if self.thinker.has_blocks:
            is_block_BN = problems.block_BN > 0
            parts.append((found.before_BND, problems.block_ids_BN, is_block_BN))
        nats, entropies, masks = [], [], []
        for x_BND, ids_BN, mask_BN in parts:
            log_p_BNV = jax.nn.log_softmax(logits(trunks, x_BND), axis=-1)
            nats.append(-jnp.take_along_axis(log_p_BNV, ids_BN[..., None], axis=-1)[..., 0])
            entropies.append(-jnp.sum(jnp.exp(log_p_BNV) * log_p_BNV, axis=-1))
            masks.append(mask_BN)
        nats_BA, entropy_BA, mask_BA = (
            jnp.concatenate(x, axis=1) for x in (nats, entropies, masks)
        )
        entropy_BA = jax.lax.stop_gradient(entropy_BA)
        counts_BA = mask_BA
        if self.fork_share < 1:
            floor = jnp.nanquantile(jnp.where(mask_BA, entropy_BA, jnp.nan), 1 - self.fork_share)
            counts_BA = mask_BA & (entropy_BA >= floor)
        nats_B = jnp.sum(jnp.where(counts_BA, nats_BA, 0.0), axis=1)
        if self.thinker.has_blocks:
            nats_B += self._decision_nats(trunks, problems, found)
        return nats_B, total(entropy_BA, mask_BA), total(mask_BA)

    def _decision_nats(self, trunks: Trunks, problems: Problems, found: Pass):
        """Return -log p of each row's decisions: to open, to end, and what slots had written."""
        n_blocks = self.model_config.layout.n_blocks
        opens_BT = problems.opens_BT[:, :-1] > 0
        is_asked_BT = (problems.segment_BT[:, :-1] == 1) & (
            (problems.segment_BT[:, 1:] > 0) | opens_BT
        )
        text_BT = binary_nats(trunks.start_logits(found.text.x_BTD[:, 1:]), opens_BT)
        is_asked_BN = (problems.block_BN > 0) & (problems.block_BN < n_blocks) & ~problems.ends_BN
        start_BN = trunks.start_logits(found.behind_BND)
        block_BN = binary_nats(start_BN, problems.opens_next_BN)
        nats_B = jnp.sum(jnp.where(is_asked_BT, text_BT, 0.0), axis=1)
        nats_B += jnp.sum(jnp.where(is_asked_BN, block_BN, 0.0), axis=1)
        slots, h_BSJD = found.slots, found.thoughts.h_BSJD
        if self.thinker.noise.kind == "gaussian":
            nats_B += self.thinker.noise.nats(
                trunks, h_BSJD, found.thoughts.v_BSJD, slots.contents.n_BJ
            )
        if self.thinker.slots == "written":
            written = slot_nats(trunks, found, "whole")
            nats_B += jnp.sum(jnp.where(slots.is_written_BJK, written, 0.0), axis=(1, 2))
        if self.thinker.ends:
            end_BSJ = trunks.end_logits(h_BSJD)
            n_B1J = slots.contents.n_BJ[:, None]
            number_1S1 = jnp.arange(end_BSJ.shape[1])[None, :, None]
            most = end_BSJ.shape[1] - 1
            if self.thinker.slots != "written":
                most = self.thinker.n_thoughts
            is_asked_BSJ = (number_1S1 <= n_B1J) & (number_1S1 < most)
            is_asked_BSJ &= (problems.breakpoints_BJ > 0)[:, None]
            end_nats_BSJ = binary_nats(end_BSJ, number_1S1 == n_B1J)
            nats_B += jnp.sum(jnp.where(is_asked_BSJ, end_nats_BSJ, 0.0), axis=(1, 2))
        return nats_B
