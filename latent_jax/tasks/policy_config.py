"""Settings of the second phase of latent reasoning, and the arrays of a row that they ask for."""

import dataclasses
from typing import Annotated

from latent_jax.contracts import FieldSpec
from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.ranges import Natural, Weight, at_least, check_fields, more_than, one_of, within
from latent_jax.tasks.thought_noise import GRADIENTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The second phase: reinforcement learning with verifiable rewards.

    Raises:
        ValueError: a value is out of range, or would have no effect.
    """

    group: Natural = 0  # solutions of each problem; 0 = the first phase, supervised
    temperature: Annotated[float, more_than(0, 100)] = 1.0  # of tokens and decisions
    segment: Annotated[int, at_least(1, 2**16)] = 16  # tokens of a segment, at most
    # share of tokens that count in the loss, those of the highest entropy; 1 = all
    fork_share: Annotated[float, within("(0, 1]")] = 1.0
    # how thoughts are explored and trained, see tasks.thought_noise: through | stop | gaussian |
    # dropout | hrpo
    gradient: Annotated[str, one_of(GRADIENTS)] = "through"
    # of gaussian: deviation, in root mean squares of a thought; of dropout: share of features
    noise: Annotated[float, within("(0, 1)")] = 0.1
    # of hrpo: the share a of the token that the gate begins at; near 0 for weights whose thoughts
    # were trained without one, which training.init_patterns must leave out, see the page
    gate: Annotated[float, within("(0, 1)")] = 0.99
    # taken from the advantage for each slot in use beyond the group's mean, in groups half of which
    # are right; 0 = none
    length_price: Weight = 0.0
    # optimizer steps on each roll-out; beyond the first one ratios to the policy that wrote are
    # clipped
    updates: Annotated[int, at_least(1, 2**10)] = 1
    # how far below 1 a ratio counts, and above it too where clip_high is 0; only for updates > 1
    clip: Annotated[float, within("(0, 1)")] = 0.2
    # how far above 1 a ratio counts, which DAPO makes wider than below; 0 = as far as below
    clip_high: Annotated[float, at_least(0, 100)] = 0.0
    # weight of the divergence from the weights that the phase began with, which are then kept
    # beside the others; 0 = none
    kl: Weight = 0.0

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "policy.")
        if self.group == 1:
            raise ValueError(
                "policy.group=1: a solution is compared with others of its problem; give 2 or more,"
                " or 0 for the first phase"
            )
        for name in ("clip", "clip_high"):
            default = getattr(PolicyConfig, name)
            if self.updates == 1 and getattr(self, name) != default:
                raise ValueError(
                    f"policy.{name}={getattr(self, name)} clips ratios, which are 1 where each "
                    f"roll-out has one update: set policy.updates to 2 or more, or leave it at "
                    f"{default}"
                )

        if self.gradient != "hrpo" and self.gate != PolicyConfig.gate:
            raise ValueError(
                f"policy.gate={self.gate} is of policy.gradient='hrpo', and it is "
                f"{self.gradient!r}: set it to 'hrpo', or leave gate at {PolicyConfig.gate}"
            )

    @property
    def upper(self) -> float:
        """How far above 1 a ratio counts."""
        return self.clip_high or self.clip

    @property
    def reads_again(self) -> bool:
        """Whether probabilities of a roll-out's actions are compared with other weights' ones."""
        return self.updates > 1 or self.kl > 0

    @property
    def keeps_thoughts(self) -> bool:
        """Whether a row carries its thoughts: they are actions, and other weights read them too."""
        return self.gradient == "gaussian" and self.reads_again

    def fields(self, layout: ProblemLayout, width: int) -> dict[str, FieldSpec]:
        """Return the fields of a row that roll-outs fill, all of float32.

        Args:
            layout: J blocks of K slots in rows of L positions.
            width: D, of a thought. The J K D numbers of a row's thoughts are spread over its
                positions, see `actions.spread`.
        """
        names = ["advantage", "reward", GROUP_REWARD, "noise_seed"]
        names += OLD_NATS if self.updates > 1 else ()
        names += REFERENCE_NATS if self.kl else ()
        fields = {name: FieldSpec("float32") for name in names}
        if self.keeps_thoughts:
            n_numbers = layout.n_blocks * layout.n_slots * width
            fields["thoughts"] = FieldSpec("float32", (-(-n_numbers // layout.length),))
        return fields


GROUP_REWARD = "group_reward"
"""The field with the mean reward of a row's group, whose rows may be in several micro-batches."""

OLD_NATS = ("old_held_nats", "old_decided_nats")
"""Fields with -log p of actions under the weights that wrote them; see `actions.Actions`."""

REFERENCE_NATS = ("reference_held_nats", "reference_decided_nats")
"""Fields with -log p of actions under the weights that the phase began with."""
