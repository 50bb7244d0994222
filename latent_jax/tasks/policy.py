"""The second phase of latent reasoning: solutions are written, and the right ones made likelier.

Reinforcement learning with verifiable rewards by group-relative policy optimization (Shao et al.
2024, "DeepSeekMath", section 4.1). With one update per roll-out the ratio to the policy that wrote
is 1 and clipping has no effect:

    loss = - sum over actions of advantage * log p(action) / (solutions * longest solution)

The sum is divided by a constant, so that long wrong solutions are not spared (Liu et al. 2025, "Dr.
GRPO"). With more updates an action counts by its ratio to the policy that wrote, and no more once
the ratio has left its bounds (Schulman et al. 2017, "PPO", equation 7); the upper one may be wider
(Yu et al. 2025, "DAPO", section 3.1):

    - min(ratio * advantage, clip(ratio, 1 - clip, 1 + clip_high) * advantage)

Actions are tokens, written thoughts, opening a block, and ending to think; see `actions`. Thoughts
are no actions, unless noise makes them some: they are computed again, and the gradient of what
follows flows through them; see `thought_noise`.

The divergence from the weights that the phase began with, which are kept in the collection
"reference", is estimated as r - log r - 1 for r = p_reference / p (Schulman 2020, "Approximating KL
divergence", k3), at every token and decision, also in groups without contrast. Thoughts have no
part in it: r of a density of many numbers has no bound.
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.contracts import Batch
from latent_jax.tasks.actions import Actions, act_again
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy_config import GROUP_REWARD, OLD_NATS, REFERENCE_NATS, PolicyConfig
from latent_jax.tasks.reasoning_scores import total


@dataclasses.dataclass(frozen=True)
class Policy:
    """The task of a reasoner that learns from its own solutions.

    Attributes:
        supervised: the first phase, by whose scores held-out problems are judged.
        config: of the second phase.
        rollout_flops: forward FLOPs of writing a solution.

    Raises:
        ValueError: a price of slots is asked for where there are none, or see
            `LatentReasoning.check_writes`.
    """

    supervised: LatentReasoning
    config: PolicyConfig = dataclasses.field(default_factory=PolicyConfig)
    rollout_flops: float = 0.0
    name = "policy"
    tokenizer_flops_per_byte = 0.0

    def __post_init__(self):
        """Check what depends on both."""
        if self.config.length_price and not self.thinker.has_blocks:
            raise ValueError(
                f"policy.length_price={self.config.length_price} is a price of slots, and "
                f"solutions have none (slots hold {self.thinker.slots!r}): leave it at 0"
            )
        self.check_writes()

    def check_writes(self) -> None:
        """See `LatentReasoning.check_writes`."""
        self.supervised.check_writes()

    @property
    def thinker(self):
        """The reasoner, and what its slots hold."""
        return self.supervised.thinker

    @property
    def prompt(self):
        """The text before and behind a question."""
        return self.supervised.prompt

    @property
    def model_config(self):
        """The config of the reasoner."""
        return self.thinker.config

    @property
    def fields(self):
        """See `Task`; those that roll-outs fill stand behind those of problems."""
        layout, width = self.model_config.layout, self.model_config.model.d_model
        return (*self.supervised.fields, *self.config.fields(layout, width))

    @property
    def copies(self):
        """See `Task`."""
        return {"reference": "params"} if self.config.kl else {}

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
        """See `LatentReasoning`; a solution that is read by several updates counts for each."""
        return self.supervised.amounts

    @property
    def stacks(self):
        """See `LatentReasoning`."""
        return self.supervised.stacks

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte of the update and of roll-outs, see `Task`.

        What roll-outs cost is shared by the updates on each: "rollout" writes, "old" reads again
        with the weights that wrote, and "reference" with those that the phase began with.
        """
        flops = {part: cost.forward for part, cost in self._row_costs.items()}
        for part, once in self._flops_of_rollouts.items():
            flops[part] = once / self.config.updates
        return {part: value / self._row_bytes for part, value in flops.items()}

    @property
    def flops_per_byte(self):
        """The sum of `component_flops`, see `Task`."""
        return sum(self.component_flops.values())

    @property
    def train_flops_per_byte(self):
        """FLOPs per raw byte of roll-outs, and of the update forward and backward; see `Task`."""
        components = self.component_flops
        rollouts = sum(components[part] for part in self._flops_of_rollouts)
        return sum(cost.train for cost in self._row_costs.values()) / self._row_bytes + rollouts

    def train_flops(self, seen):
        """Return the FLOPs of training on `seen["problems"]` solutions; see `Task`.

        Solutions are as long as they are, and cost what a row costs.
        """
        return self.train_flops_per_byte * self._row_bytes * seen["problems"]

    def init(self, key, batch):
        """Draw parameters, and keep them as a reference where one is asked for; see `Task`."""
        variables = dict(self.supervised.init(key, batch))
        copies = {name: jax.tree.map(jnp.copy, variables[of]) for name, of in self.copies.items()}
        return variables | copies

    def loss(self, variables, batch, key, step, train):
        """Return the loss of written solutions; see `Task`."""
        del key, step, train
        problems, actions = act_again(
            self.thinker, variables["params"], batch, self.config.temperature
        )
        advantage_B = batch["advantage"][:, 0]
        group_reward_B = batch[GROUP_REWARD][:, 0]
        counts_B2L = actions.counted(self.config.fork_share)
        scores = {
            "weight": jnp.sum(batch["n_problems"]).astype(jnp.float32),
            "n_bytes": jnp.sum(batch["n_bytes"]),
            "n_problems": jnp.sum(batch["n_problems"]),
            "reward": jnp.sum(batch["reward"][:, 0]),
            "n_contrast": total((group_reward_B > 0) & (group_reward_B < 1)),
            "entropy": total(actions.entropy_BL, actions.is_text_BL),
            "n_tokens_written": total(actions.is_text_BL),
            "n_opened": total(problems.breakpoints_BJ > 0),
            "n_cut": total(~problems.ends_with(self.thinker.separator_id)),
        }
        if self.config.updates == 1:
            nats_B = jnp.sum(jnp.where(counts_B2L, actions.nats_B2L, 0.0), axis=(1, 2))
            objective = jnp.sum(advantage_B * nats_B)
        else:
            objective, n_clipped = self._clipped(actions, counts_B2L, advantage_B, batch)
            scores |= {"n_clipped": n_clipped, "n_ratios": total(counts_B2L)}
        if self.config.kl:
            divergence, n_compared = self._divergence(actions, batch)
            objective += self.config.kl * divergence
            scores |= {"divergence": divergence, "n_compared": n_compared}
        loss = objective / self.model_config.layout.text / jnp.maximum(scores["weight"], 1.0)
        return loss, (scores, {name: variables[name] for name in self.copies})

    def evaluate(self, variables, batch):
        """Return the sums of the first phase; see `LatentReasoning.evaluate`."""
        return self.supervised.evaluate(variables, batch)

    def summarize(self, sums):
        """Return the metrics of held-out problems, or of solutions in training; see `Task`."""
        if "reward" not in sums:
            return self.supervised.summarize(sums)

        def mean(name: str, of: str) -> float:
            return float(sums[name]) / max(float(sums[of]), 1.0)

        metrics = {
            "reward": mean("reward", "weight"),
            "contrast_share": mean("n_contrast", "weight"),
            "entropy_nats_per_token": mean("entropy", "n_tokens_written"),
            "blocks_per_solution": mean("n_opened", "weight"),
            "cut_share": mean("n_cut", "weight"),
        }
        if "n_clipped" in sums:
            metrics["clipped_share"] = mean("n_clipped", "n_ratios")
        if "divergence" in sums:
            metrics["kl_nats_per_action"] = mean("divergence", "n_compared")
        return metrics

    @property
    def _row_bytes(self) -> float:
        return self.supervised.bytes_per_position * self.model_config.layout.length

    @property
    def _row_costs(self):
        """The costs of `act_again`: no help of the first phase is a part of it."""
        return self.thinker.row_costs(names_slots=self.thinker.draws_tokens)

    @property
    def _flops_of_rollouts(self) -> dict[str, float]:
        """Forward FLOPs of a solution that is written and read again before its updates."""
        read = sum(cost.forward for cost in self._row_costs.values())
        flops = {"rollout": self.rollout_flops}
        if self.config.updates > 1:
            flops["old"] = read
        if self.config.kl:
            flops["reference"] = read
        return flops

    def _clipped(self, actions: Actions, counts_B2L, advantage_B, batch: Batch):
        """Return the sum of the clipped objective, and how many actions are out of bounds."""
        advantage_B11 = advantage_B[:, None, None]
        old_B2L = _both(batch, OLD_NATS)
        # Masked first: what is no action may have any probability.
        ratio_B2L = jnp.exp(jnp.where(counts_B2L, old_B2L - actions.nats_B2L, 0.0))
        bounds = 1 - self.config.clip, 1 + self.config.upper
        gain_B2L = ratio_B2L * advantage_B11
        clipped_B2L = jnp.clip(ratio_B2L, *bounds) * advantage_B11
        is_clipped_B2L = counts_B2L & (clipped_B2L < gain_B2L)
        return -total(jnp.minimum(gain_B2L, clipped_B2L), counts_B2L), total(is_clipped_B2L)

    def _divergence(self, actions: Actions, batch: Batch):
        """Return the sum of the estimates of KL over actions but thoughts, and their number."""
        compared_B2L = actions.is_taken_B2L
        if self.thinker.noise.kind == "gaussian":
            compared_B2L = compared_B2L.at[:, 0].set(actions.is_text_BL)
        reference_B2L = _both(batch, REFERENCE_NATS)
        log_r_B2L = jnp.where(compared_B2L, actions.nats_B2L - reference_B2L, 0.0)
        return total(jnp.expm1(log_r_B2L) - log_r_B2L), total(compared_B2L)


def _both(batch: Batch, names: tuple[str, str]) -> jax.Array:
    """Return -log p of what positions hold, and of what is decided there, [B, 2, L]."""
    return jnp.stack([batch[name] for name in names], axis=1)
