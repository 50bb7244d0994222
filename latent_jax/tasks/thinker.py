"""How a reasoner thinks in training: what its slots hold, and the forward pass of a batch."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.models.inline_memory import Inline, Rows
from latent_jax.models.inline_thinking import InlineReader, read_row
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.models.thinking import (
    Contents,
    Text,
    Thoughts,
    read_blocks,
    read_text,
    think,
    think_at_once,
    think_by,
    think_jacobi,
)
from latent_jax.models.trunks import Trunks
from latent_jax.ranges import Natural, check_fields
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thought_flops import Cost, row_costs
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
        noise: of thoughts, where a pass is given seeds; "hrpo" mixes them with tokens in any pass,
            and needs the gate of a reasoner that has one.
        inline: of the inline layout, see `models.inline_thinking`; None = two streams.

    Raises:
        ValueError: a value is out of range, there are more thoughts than slots, or more iterations
            than thoughts; noise is asked for
            where thoughts are not computed one after the other, or the inline layout is asked for
            with what needs blocks side by side.
    """

    config: ReasonerConfig
    separator_id: int
    slots: SlotKind = "latent"
    curriculum: Curriculum = dataclasses.field(default_factory=Curriculum)
    filler_id: Natural = 0
    iterations: Natural = 0
    ends: bool = False
    noise: ThoughtNoise = dataclasses.field(default_factory=ThoughtNoise)
    inline: Inline | None = None

    def __post_init__(self):
        check_fields(self, "thoughts.")
        n_slots = self.config.layout.n_slots
        if self.n_thoughts > n_slots:
            raise ValueError(
                f"k={self.n_thoughts} thoughts need as many slots, and thoughts.slots={n_slots}"
            )
        if self.slots == "latent" and self.iterations > self.n_thoughts:
            raise ValueError(
                f"thoughts.iterations={self.iterations}: after k={self.n_thoughts} iterations "
                "thoughts are those of one after the other, and more change nothing: set it to "
                f"{self.n_thoughts} or less"
            )
        if self.slots not in ("none", "written") and not self.n_thoughts:
            raise ValueError(f"blocks of {self.slots!r} need k of at least 1; got 0")
        if self.noise.kind != "through" and (self.slots != "latent" or self.iterations):
            raise ValueError(
                f"policy.gradient={self.noise.kind!r} is of thoughts that are computed one after "
                f"the other; slots hold {self.slots!r}, and thoughts.iterations={self.iterations}: "
                "leave policy.gradient at 'through'"
            )
        if self.noise.has_tokens != (self.config.gate > 0):
            raise ValueError(
                f"policy.gradient={self.noise.kind!r}, and the gate of the reasoner begins at "
                f"{self.config.gate} (0 = it has none): thoughts are mixed with tokens by a gate, "
                "and by nothing else"
            )
        if self.config.has_message_pass and self.slots in ("pause", "filler") and not self.ends:
            raise ValueError(
                f"slots that hold {self.slots!r} tell the language trunk nothing of a second one "
                "by thoughts.message='embedding': set it to 'keys'"
            )
        if self.inline:
            self._check_inline(self.inline)

    def _check_inline(self, inline: Inline) -> None:
        """Refuse what the inline layout cannot do, or what would do nothing in it."""
        config, most = self.config, self.config.layout.blocks_text
        refused = {
            "slots 'none' make no blocks to place: leave it at 'streams'": not self.has_blocks,
            "one block has none before it: leave it at 'streams'": config.layout.n_blocks == 1
            and not inline.hides_steps,
            f"thoughts.iterations={self.iterations} compute all blocks at once, and here one waits "
            "for the other: set it to 0": self.iterations > 0,
            "thoughts.end_weight tries numbers of thoughts for each block alone, and here later "
            "blocks read them: set it to 0": self.ends and self.slots != "written",
            "thoughts.cache='separate' has two sets of keys of the text, and here is one: set it "
            "to 'shared'": config.trunks == 2 and config.cache == "separate",
            "policy.gradient='hrpo' is of blocks side by side: set layout to 'streams', or take "
            "another gradient": self.noise.has_tokens,
            f"thoughts.longest_step={inline.step} is more than thoughts.blocks_text={most}, which "
            "holds all steps: set it to 0": inline.step > most,
        }
        for message, is_so in refused.items():
            if is_so:
                raise ValueError(f"thoughts.layout='inline': {message}")

    @property
    def n_thoughts(self) -> int:
        """k, slots in use of a block, unless they hold written thoughts."""
        return self.curriculum.n_thoughts

    @property
    def most_in_use(self) -> int:
        """Slots in use of a block, at most: k, or all that a written thought may take."""
        return self.config.layout.n_slots if self.slots == "written" else self.n_thoughts

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
    def draws_tokens(self) -> bool:
        """Whether a writer draws a token for every slot."""
        return self.slots == "written" or self.noise.has_tokens

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
        tokens_BJK: jax.Array | None = None,
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
            tokens_BJK: int32, the tokens that thoughts are mixed with under "hrpo"; None = the
                likeliest ones.
        """
        text = read_text(trunks, problems.ids_BT, self.separator_id)
        if not self.has_blocks:
            return Pass(text)
        slots = fill_slots(
            trunks, problems, self.slots, self.n_thoughts, stage, self.filler_id, limit_BJ
        )
        slots = slots.first(self.n_slots)
        opens_BJ, held = problems.breakpoints_BJ, slots.contents
        is_given = self.slots != "latent" or thoughts_BJKD is not None
        if thoughts_BJKD is not None:
            drawn_BJKD = jax.lax.stop_gradient(thoughts_BJKD).astype(held.given_BJKD.dtype)
            held = held._replace(given_BJKD=drawn_BJKD)
        if self.inline:
            asked = trunks, text, problems, held
            return Pass(text, slots, *self._read_inline(*asked, is_given, seeds_B))
        if is_given:
            thoughts = think_at_once(trunks, text, opens_BJ, held.given_BJKD)
        elif self.noise.has_tokens:
            thoughts = self._think_mixed(trunks, text, opens_BJ, tokens_BJK)
        else:
            thoughts = self._think(trunks, text, opens_BJ, held, seeds_B)
        return Pass(text, slots, thoughts, *self.read(trunks, text, problems, held.n_BJ, thoughts))

    def read(
        self,
        trunks: Trunks,
        text: Text,
        problems: Problems,
        n_BJ: jax.Array,
        thoughts: Thoughts,
        read_BJ: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Return the states before and behind all tokens of segments, in two streams.

        Each is [B, N, D]; for `n_BJ` and `read_BJ` see `read_blocks`.
        """
        return read_blocks(
            trunks,
            text,
            problems.breakpoints_BJ,
            n_BJ,
            thoughts.cache,
            problems.block_ids_BN,
            problems.block_BN,
            problems.place_BN,
            read_BJ,
        )

    def read_given(
        self,
        trunks: Trunks,
        text: Text,
        problems: Problems,
        given_BJKD: jax.Array,
        n_BJ: jax.Array,
    ) -> jax.Array:
        """Return the states before all tokens of segments, [B, N, D], behind slots that are given.

        Args:
            trunks: of the reasoner.
            text: as `run` read it.
            problems: the batch.
            given_BJKD: what the slots hold; K may be another than in training.
            n_BJ: int32, slots in use.
        """
        if self.inline:
            held = Contents(jnp.zeros(given_BJKD.shape[:3], bool), given_BJKD, n_BJ)
            return self._read_inline(trunks, text, problems, held, is_given=True)[1]
        thoughts = think_at_once(trunks, text, problems.breakpoints_BJ, given_BJKD)
        return self.read(trunks, text, problems, n_BJ, thoughts)[0]

    def _think(
        self,
        trunks: Trunks,
        text: Text,
        opens_BJ: jax.Array,
        held: Contents,
        seeds_B: jax.Array | None = None,
    ) -> Thoughts:
        """Return the thoughts of all blocks in two streams; see `models.thinking` and `run`."""
        if self.iterations:
            return think_jacobi(trunks, text, opens_BJ, held, self.iterations)
        if seeds_B is None:
            return think(trunks, text, opens_BJ, held)
        drawn_BJKD = self.noise.draw(seeds_B, *held.given_BJKD.shape[1:])
        return think(trunks, text, opens_BJ, held, self.noise.disturb, drawn_BJKD)

    def _think_mixed(
        self, trunks: Trunks, text: Text, opens_BJ: jax.Array, tokens_BJK: jax.Array | None
    ) -> Thoughts:
        """Return the thoughts of all blocks, each mixed with a token; see `layers.gate`."""
        given = []
        if tokens_BJK is not None:
            # The last step fills the last slot, and nothing follows it.
            tokens_BJS = jnp.pad(tokens_BJK[..., : self.n_slots], ((0, 0), (0, 0), (0, 1)))
            given = [jnp.moveaxis(tokens_BJS, 2, 0)]

        def choose(h_BJD, slot):
            ids_BJ = slot[1] if tokens_BJK is not None else trunks.likeliest(h_BJD)
            return trunks.mix(ids_BJ, h_BJD), None

        return think_by(trunks, text, opens_BJ, choose, given, self.n_slots)[0]

    def _read_inline(
        self,
        trunks: Trunks,
        text: Text,
        problems: Problems,
        held: Contents,
        is_given: bool,
        seeds_B: jax.Array | None = None,
    ) -> tuple[Thoughts, jax.Array, jax.Array]:
        """Return the thoughts, and the states before and behind all tokens of segments."""
        noise = {}
        if seeds_B is not None:
            drawn_BJKD = self.noise.draw(seeds_B, *held.given_BJKD.shape[1:])
            noise = {"disturb": self.noise.disturb, "drawn_BJKD": drawn_BJKD}
        rows = Rows(problems.breakpoints_BJ, held.n_BJ, problems.n_step_BJ, problems.n_question_B)
        tokens = problems.block_ids_BN, problems.block_BN, problems.place_BN
        reader = InlineReader(trunks, text, self.inline)
        return read_row(reader, rows, held, *tokens, is_given=is_given, **noise)

    def row_costs(self, **asked: bool) -> dict[str, Cost]:
        """Return the FLOPs of a row by component; see `thought_flops.row_costs` for `asked`."""
        return row_costs(
            self.config,
            self.inline,
            self.slots,
            self.n_slots,
            n_thoughts=self.n_thoughts,
            iterations=self.iterations,
            freezes_text=self.freezes_text,
            **asked,
        )
