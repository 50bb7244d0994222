"""How a reasoner thinks in training: what its slots hold, and the forward pass of a batch."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax

from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.models.thinking import (
    Contents,
    Text,
    Thoughts,
    read_blocks,
    read_text,
    think,
    think_at_once,
    think_jacobi,
)
from latent_jax.models.trunks import Trunks
from latent_jax.ranges import Natural, check_fields
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import Curriculum, SlotKind, Slots, fill_slots


class Pass(NamedTuple):
    """Everything that a forward pass of a batch gives.

    Attributes:
        text: states and keys of the text.
        slots: what the slots hold; None for kind "none", as all that follow.
        thoughts: their states and vectors.
        before_BND: the states from which the tokens of segments are predicted.
        behind_BND: the states behind them.
    """

    text: Text
    slots: Slots | None = None
    thoughts: Thoughts | None = None
    before_BND: jax.Array | None = None
    behind_BND: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Thinker:
    """A reasoner, and what its slots hold.

    Attributes:
        config: of the reasoner; its layout is that of the rows.
        separator_id: of the tokenizer.
        slots: one of `thought_slots.KINDS`.
        curriculum: of kind "latent": how many slots hold thoughts; of others, its k alone counts.
        filler_id: of kind "filler".
        iterations: R of Jacobi iterations over thoughts; 0 = one after the other, exactly.
        ends: whether a classifier ends thinking, or writing, before all slots are in use.
        noise: of thoughts, where a pass is given seeds.

    Raises:
        ValueError: a value is out of range, there are more thoughts than slots, or noise is asked
            for where thoughts are not computed one after the other.
    """

    config: ReasonerConfig
    separator_id: int
    slots: SlotKind = "latent"
    curriculum: Curriculum = dataclasses.field(default_factory=Curriculum)
    filler_id: Natural = 0
    iterations: Natural = 0
    ends: bool = False
    noise: ThoughtNoise = dataclasses.field(default_factory=ThoughtNoise)

    def __post_init__(self):
        check_fields(self, "thoughts.")
        n_slots = self.config.layout.n_slots
        if self.n_thoughts > n_slots:
            raise ValueError(
                f"k={self.n_thoughts} thoughts need as many slots, and thoughts.slots={n_slots}"
            )
        if self.slots not in ("none", "written") and not self.n_thoughts:
            raise ValueError(f"blocks of {self.slots!r} need k of at least 1; got 0")

        if self.noise.kind != "through" and (self.slots != "latent" or self.iterations):
            raise ValueError(
                f"policy.gradient={self.noise.kind!r} is of thoughts that are computed one after "
                f"the other; slots hold {self.slots!r}, and thoughts.iterations={self.iterations}: "
                "leave policy.gradient at 'through'"
            )

    @property
    def n_thoughts(self) -> int:
        """k, slots in use of a block, unless they hold written thoughts."""
        return self.curriculum.n_thoughts

    @property
    def n_slots(self) -> int:
        """K, slots of a block that are computed; only written tokens need all that a row has."""
        holds_text = self.slots == "written" or self.curriculum.steps > 0
        return self.config.layout.n_slots if holds_text else self.n_thoughts

    @property
    def has_blocks(self) -> bool:
        """Whether there are blocks at all."""
        return self.slots != "none"

    @property
    def freezes_text(self) -> bool:
        """Whether the trunk that reads the text is not trained."""
        return self.config.trunks == 2 and self.has_blocks

    @property
    def frozen(self) -> tuple[str, ...]:
        """The paths of parameters that are not trained: the language trunk of two, and what the
        kind of slots does not use.
        """
        frozen = []
        if self.freezes_text:
            frozen.append(r"params/(token_embedding|stack)/.*")
        if not self.has_blocks:
            frozen.append(r"params/thought/(marks|end_head/.*)")
        if self.slots != "latent" and self.config.projection not in ("raw", "norm", "soft"):
            frozen.append(r"params/thought/projection/.*")
        if not self.has_blocks and self.config.trunks == 2 and self.config.change != "prefix":
            frozen.append(r"params/thought/changes/.*")
        return tuple(frozen)

    def run(
        self,
        trunks: Trunks,
        problems: Problems,
        stage: jax.Array,
        limit_BJ: jax.Array | None = None,
        seeds_B: jax.Array | None = None,
        thoughts_BJKD: jax.Array | None = None,
    ) -> Pass:
        """Return the forward pass of a batch.

        Args:
            trunks: of the reasoner.
            problems: the batch.
            stage: int32 scalar, of the curriculum.
            limit_BJ: see `fill_slots`.
            seeds_B: int32, of the noise of each row; None = thoughts have none.
            thoughts_BJKD: thoughts that were drawn before, which are read as they are, without a
                gradient; None = they are computed.
        """
        text = read_text(trunks, problems.ids_BT, self.separator_id)
        if not self.has_blocks:
            return Pass(text)
        slots = fill_slots(
            trunks, problems, self.slots, self.n_thoughts, stage, self.filler_id, limit_BJ
        )
        slots = slots.first(self.n_slots)
        opens_BJ, held = problems.breakpoints_BJ, slots.contents
        if thoughts_BJKD is None:
            thoughts = self.think(trunks, text, opens_BJ, held, seeds_B)
        else:
            drawn_BJKD = jax.lax.stop_gradient(thoughts_BJKD).astype(held.given_BJKD.dtype)
            thoughts = think_at_once(trunks, text, opens_BJ, drawn_BJKD)
        return Pass(
            text,
            slots,
            thoughts,
            *self.read(trunks, text, problems, held.n_BJ, thoughts),
        )

    def think(
        self,
        trunks: Trunks,
        text: Text,
        opens_BJ: jax.Array,
        held: Contents,
        seeds_B: jax.Array | None = None,
    ) -> Thoughts:
        """Return the thoughts of all blocks; see `models.thinking.think` and `run`."""
        if self.slots != "latent":
            return think_at_once(trunks, text, opens_BJ, held.given_BJKD)
        if self.iterations:
            return think_jacobi(trunks, text, opens_BJ, held, self.iterations)
        if seeds_B is None:
            return think(trunks, text, opens_BJ, held)
        drawn_BJKD = self.noise.draw(seeds_B, *held.given_BJKD.shape[1:])
        return think(trunks, text, opens_BJ, held, self.noise.disturb, drawn_BJKD)

    def read(
        self,
        trunks: Trunks,
        text: Text,
        problems: Problems,
        n_BJ: jax.Array,
        thoughts: Thoughts,
    ) -> tuple[jax.Array, jax.Array]:
        """Return the states before and behind all tokens of segments, [B, N, D] each."""
        return read_blocks(
            trunks,
            text,
            problems.breakpoints_BJ,
            n_BJ,
            thoughts.cache,
            problems.block_ids_BN,
            problems.block_BN,
            problems.place_BN,
        )

    def row_flops(
        self, *, names_slots: bool = False, decodes: bool = False, aligns: bool = False
    ) -> Mapping[str, float]:
        """Return the forward FLOPs of a row by component.

        Args:
            names_slots: whether a token is predicted before every slot.
            decodes: whether written steps are decoded from thoughts, see `step_decoder`.
            aligns: whether written steps are read too, see `state_alignment`.
        """
        config, layout = self.config, self.config.layout
        model = config.model
        head = 2.0 * model.d_model * model.vocab_size

        def stack(n_positions: int, n_keys: int) -> float:
            return n_positions * sum(model.stack_flops(n_keys).values())

        flops = {"text": stack(layout.text, layout.text), "head": layout.text * head}
        if not self.has_blocks:
            return flops
        if config.trunks == 2 and config.cache == "separate":
            flops["text"] *= 2
        n_slots = layout.n_blocks * (self.n_slots + 1)
        n_tokens = layout.n_blocks + layout.blocks_text
        # All slots of a block are computed side by side, or one after the other with a buffer for
        # all of them: the scores are as many.
        passes = 1 + self.iterations if self.slots == "latent" else 1
        own = n_slots if self.slots != "latent" or self.iterations else n_slots + layout.n_blocks
        flops["thoughts"] = passes * stack(n_slots, layout.text + own)
        if config.has_message_pass:
            flops["thoughts"] += stack(n_slots, layout.text + n_slots)
        flops["blocks"] = stack(n_tokens, layout.text + n_slots + n_tokens)
        flops["head"] += layout.blocks_text * head
        if names_slots:
            flops["head"] += layout.n_blocks * self.n_slots * head
        if decodes:
            n_read = self.n_thoughts + layout.n_slots - 1
            flops["decoder"] = layout.n_blocks * stack(n_read, n_read)
            flops["decoder"] += layout.n_blocks * layout.n_slots * head
        if aligns:
            n_read = layout.n_blocks * (layout.n_slots + 1)
            passes_of_teacher = 2 if config.has_message_pass else 1
            flops["teacher"] = passes_of_teacher * stack(n_read, layout.text + n_read)
            flops["teacher"] += stack(n_tokens, layout.text + n_read + n_tokens)
            flops["teacher"] += layout.blocks_text * head
        if self.slots == "latent":
            n_made = self.iterations * layout.n_blocks * self.n_slots or n_slots
            in_mlp = 2 * 2.0 * model.d_model**2 * (config.projection in ("mlp", "fusion"))
            in_soft = head * (config.projection in ("soft", "fusion"))
            flops["projection"] = n_made * (in_mlp + in_soft)
        return flops

    def share_without_gradient(self, flops: Mapping[str, float]) -> float:
        """Return the part of `row_flops`, in its units, that no backward pass goes through.

        It is the pass of a frozen language trunk over the text.
        """
        if not self.freezes_text:
            return 0.0
        return flops["text"] / (2.0 if self.config.cache == "separate" else 1.0)
