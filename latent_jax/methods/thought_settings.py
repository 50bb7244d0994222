"""The section `thoughts` of a configuration: how problems are laid out, and how it is thought."""

import dataclasses
from typing import Annotated

from latent_jax.data.problem_rows import WRITTEN, ProblemLayout
from latent_jax.layers.changes import CHANGES
from latent_jax.layers.projection import PROJECTIONS
from latent_jax.models.inline_memory import Inline
from latent_jax.models.reasoner import CACHES, MESSAGES
from latent_jax.ranges import Natural, Size, Weight, at_least, check_fields, one_of, within

LAYOUTS = ("streams", "inline")
"""Two streams, the text and blocks behind it (`models.thinking`), or one sequence of both
(`models.inline_thinking`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThoughtsConfig:
    """Of the family Thoughts.

    Raises:
        ValueError: a value is out of range.
    """

    text: Size = 24  # T_A, tokens of question and answer
    blocks_text: Size = 12  # T_B, tokens of all steps behind breakpoints
    blocks: Size = 2  # J, breakpoints of a problem, at most
    slots: Size = 3  # K, slots of a block: as many as a written thought or k needs
    # what a block reads: streams (the text before it, and itself) | inline (earlier thoughts too)
    layout: Annotated[str, one_of(LAYOUTS)] = "streams"
    # inline: whether a step is hidden from all but the thoughts behind it, which must carry it on
    hide_steps: bool = False
    # inline: tokens of a step behind a breakpoint, at most, and all of them are computed; problems
    # with a longer one are left out; 0 = as many as blocks_text
    longest_step: Natural = 0
    prompt: str = ""  # text before the question
    prompt_end: str = ""  # text between question and answer
    # what is written in slots: equation (lhs=rhs of a mark) | expression (lhs)
    written: Annotated[str, one_of(WRITTEN)] = "expression"
    # how a thought is made of the state before it: raw | norm | mlp | soft | fusion
    projection: Annotated[str, one_of(PROJECTIONS)] = "mlp"
    iterations: Natural = 0  # Jacobi iterations over all thoughts at once; 0 = one after the other
    # share of the planned steps in which thoughts replace written tokens, one by one; 0 = none
    curriculum: Annotated[float, within("[0, 1]")] = 0.0
    # share of the curriculum in which all thoughts are written, 0 = no such stage; the other stages
    # are equally long
    first_stage: Annotated[float, within("[0, 1)")] = 0.5
    # weight of the steps where they stand in the text, behind no thought; 0 = they do not count
    text_weight: Weight = 1.0
    written_weight: Weight = 1.0  # weight of written thoughts; 0 = they are read, not learned
    # weight of naming, before each thought, the token that it stands for; 0 = thoughts are free
    named_weight: Weight = 0.0
    # weight of decoding the written step from the thoughts alone (SIM-CoT); 0 = none
    decoder_weight: Weight = 0.0
    # weight of being, behind thoughts, as behind the written step (CODI); 0 = none
    align_weight: Weight = 0.0
    start_weight: Weight = 1.0  # weight of the classifier that opens blocks; 0 = not trained
    # weight of the classifier that ends thinking, which also draws how many thoughts are in use;
    # 0 = none, and then solutions with written thoughts are refused, unless every thought is known
    # to fill its slots: bytes, chains of permutations, and as many slots as a thought has digits
    end_weight: Weight = 0.0
    # two trunks: how the second one differs: copy | lora | prefix
    change: Annotated[str, one_of(CHANGES)] = "copy"
    rank: Annotated[int, at_least(1, 4096)] = 16  # of a change by lora
    # two trunks: what the first one reads of a thought: keys (of the second) | embedding
    message: Annotated[str, one_of(MESSAGES)] = "embedding"
    # two trunks: whose keys of the text the second one reads: shared (the first one's) | separate
    cache: Annotated[str, one_of(CACHES)] = "shared"
    # tokens of a segment that evaluation writes, at most; 0 = it writes no solutions
    segment: Natural = 12
    filler: str = "."  # the text whose first token fills slots of kind filler

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "thoughts.")
        if not self.filler:
            raise ValueError("thoughts.filler is empty: give a text, such as '.'")
        for key in ("hide_steps", "longest_step"):
            if self.layout == "streams" and getattr(self, key):
                raise ValueError(
                    f"thoughts.{key}={getattr(self, key)} is of thoughts.layout='inline', and it is"
                    f" 'streams': set layout to 'inline', or leave {key} as it is"
                )

    @property
    def row(self) -> ProblemLayout:
        """The regions of a row."""
        return ProblemLayout(self.text, self.blocks_text, self.blocks, self.slots)

    @property
    def inline(self) -> Inline | None:
        """What the inline layout is told; None = two streams."""
        if self.layout == "streams":
            return None
        return Inline(self.longest_step or self.blocks_text, self.hide_steps)
