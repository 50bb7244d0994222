"""The task of routers that learn by reward: drawn boundaries, compared within groups of passes.

Each row is read G times, with boundaries of its own each time. The reward of a pass is minus its
nats per byte; its advantage is the reward less what the others of its group got on average, as in
"You can learn tokenization with RL" (arXiv 2602.13940) and ReinPatch (arXiv 2603.26097). Then

    loss += - weight * mean over passes of advantage * log pi(boundaries) / positions

whose gradient is, in the mean over draws, that of the expected nats per byte, over positions. The
sum over the others, and not over all of the group, keeps it so for any G. A position that has no
room for a boundary decides nothing and is left out.

Scores are those of one pass on average. All passes are computed, and count in the FLOPs.
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.rate import EDGE
from latent_jax.models.stage import Boundaries
from latent_jax.nearest import check_word
from latent_jax.ranges import Weight, at_least, check
from latent_jax.tasks.heads import position_nats
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling, streams

ADVANTAGES = ("centred", "scaled")
"""Less the mean of the others; or less the mean of the group, over its standard deviation."""

LEAST_DEVIATION = 1e-4
"""In nats per byte, so that a group of equals has no advantage."""


@dataclasses.dataclass(frozen=True)
class BoundaryPolicy(HierarchicalLanguageModeling):
    """The task of a hierarchical model whose routers learn by reward.

    Attributes:
        group: G, passes of each row.
        advantage: one of `ADVANTAGES`.
        policy_weight: of the loss of the policy.

    Raises:
        ValueError: see `HierarchicalLanguageModeling`; or a group has fewer than 2 passes.
    """

    group: int = 4
    advantage: str = "centred"
    policy_weight: float = 1.0

    def __post_init__(self):
        """Check the fields."""
        super().__post_init__()
        check_word("advantage", self.advantage, ADVANTAGES)
        check("policy_weight", self.policy_weight, Weight)
        if not at_least(2).holds(self.group):
            raise ValueError(f"group must be at least 2: passes are compared; got {self.group}")

    @property
    def stacks(self):
        """The stacks with the positions of all passes of a row, which are kept; see `Task`."""
        return tuple((stack, self.group * length) for stack, length in super().stacks)

    @property
    def train_flops_per_byte(self):
        """FLOPs of all passes, see `Task`."""
        return self.group * super().train_flops_per_byte

    def loss(self, variables, batch, key, step, train):
        """Return the loss of all passes and that of the policy; see `Task`."""
        if not train:
            return super().loss(variables, batch, key, step, train)
        rows = jax.tree.map(lambda x: repeated(x, self.group), dict(batch))
        state = [name for name in variables if name != "params"]
        x_BTD, notes, experts, state = self._noted(
            variables, rows, state, train=True, rngs=streams(key)
        )
        head = "blocks" if self.head == "fused" else self.head  # "fused" has sums only
        table_VD = variables["params"]["token_embedding"]["embedding"]
        nats_BT, log_z_BT = position_nats(head, x_BTD, table_VD, rows["ids"])
        nats_B = jnp.sum(nats_BT * rows["weights"], axis=1)
        scores = self._scores(rows, jnp.sum(nats_B), notes, experts)
        objective = scores["nats"] + self.z_loss * jnp.sum(jnp.square(log_z_BT) * rows["weights"])
        loss = objective / jnp.maximum(scores["weight"], 1.0)
        reward_B = -jax.lax.stop_gradient(nats_B) / jnp.maximum(rows["n_bytes"], 1)
        policy = policy_loss(notes.boundaries, reward_B, self.group, self.advantage)
        loss = loss + self.weight * notes.aux_loss + self.policy_weight * policy
        if experts:
            loss = loss + self.balance_weight * experts.balance
        return loss, ({name: value / self.group for name, value in scores.items()}, state)


def repeated(x: jax.Array, group: int) -> jax.Array:
    """Return each row `group` times in a row, [B G, ...]; a mesh that splits rows splits them."""
    x = jnp.asarray(x)
    return jnp.broadcast_to(x[:, None], (x.shape[0], group, *x.shape[1:])).reshape(-1, *x.shape[1:])


def policy_loss(
    boundaries: tuple[Boundaries, ...], reward_B: jax.Array, group: int, advantage: str
) -> jax.Array:
    """Return the loss whose gradient is that of the score function, float32 scalar.

    Args:
        boundaries: of all stages, as they were drawn.
        reward_B: float32, of passes; those of a group are neighbours.
        group: G.
        advantage: one of `ADVANTAGES`.
    """
    n_positions_B = jnp.maximum(jnp.sum(boundaries[0].row.mask_BT, axis=1), 1)
    log_p_B = sum(log_probability(stage) for stage in boundaries) / n_positions_B
    return -jnp.mean(advantages(reward_B, group, advantage) * log_p_B)


def advantages(reward_B: jax.Array, group: int, advantage: str) -> jax.Array:
    """Return the advantage of each pass, float32[B]; see `ADVANTAGES`."""
    reward_NG = reward_B.reshape(-1, group)
    centred_NG = reward_NG - jnp.mean(reward_NG, axis=1, keepdims=True)
    if advantage == "centred":
        return centred_NG.reshape(-1) * (group / (group - 1.0))
    deviation_N1 = jnp.sqrt(jnp.mean(jnp.square(centred_NG), axis=1, keepdims=True))
    return (centred_NG / jnp.maximum(deviation_N1, LEAST_DEVIATION)).reshape(-1)


def log_probability(stage: Boundaries) -> jax.Array:
    """Return the log-probability of the drawn boundaries of each row, float32[B]."""
    is_first_BT = stage.cut.is_first_BT
    n_before_BT = jnp.cumsum(is_first_BT, axis=1) - is_first_BT
    has_room_BT = n_before_BT < stage.cut.first_BK.shape[1]
    is_free_BT = stage.row.mask_BT & ~stage.row.starts_BT & has_room_BT
    p_BT = jnp.clip(stage.p_BT, EDGE, 1.0 - EDGE)
    log_p_BT = jnp.where(is_first_BT, jnp.log(p_BT), jnp.log1p(-p_BT))
    return jnp.sum(jnp.where(is_free_BT, log_p_BT, 0.0), axis=1)
