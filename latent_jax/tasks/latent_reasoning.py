"""The first phase of interleaved latent reasoning: the next step of a solution, behind thoughts.

Fifty's post-mortem of interleaved latent reasoning, phase 1: a solution is cut at its calculator
marks, the model thinks there, and is trained on the step that follows.

    loss = (nats of segment 0 and of all segments in their blocks
            + text_weight * those of the same segments in the text, where nobody has thought
            + written_weight * written thoughts + named_weight * what thoughts should name
            + decoder_weight * written steps decoded from thoughts
            + align_weight * (distance to the states behind written steps + the teacher's nats)
            + start_weight * start classifier + end_weight * end classifier) / answer tokens
"""

import dataclasses

import jax
import jax.numpy as jnp

from latent_jax.generation.rollout import Decoding
from latent_jax.generation.solutions import solution_scores
from latent_jax.models.reasoner import Reasoner
from latent_jax.models.trunks import Trunks
from latent_jax.ranges import Weight, check_fields
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import (
    block_scores,
    end_nats,
    start_scores,
    summarize,
    text_scores,
)
from latent_jax.tasks.result_scores import swapped_scores
from latent_jax.tasks.state_alignment import alignment_scores
from latent_jax.tasks.step_decoder import decoder_scores
from latent_jax.tasks.thinker import Pass, Thinker
from latent_jax.tasks.thought_flops import steps_read


@dataclasses.dataclass(frozen=True)
class LatentReasoning:
    """The task of a reasoner on worked problems.

    Attributes:
        thinker: the reasoner, and what its slots hold.
        bytes_per_position: raw bytes of answers per position of a row, measured.
        text_weight: of the segments behind breakpoints where they stand in the text. Without
            blocks it counts as 1.
        written_weight: of written thoughts.
        named_weight: of naming, in the state before each thought, the written token that the
            thought stands for.
        decoder_weight: of decoding the written step from the thoughts alone; see `step_decoder`.
        align_weight: of being as behind the written step; see `state_alignment`.
        start_weight: of the classifier that opens blocks.
        end_weight: of the classifier that ends thinking, or writing in slots. If it is not 0, the
            thoughts in use are drawn from 0 to k for each block in training, so that every number
            is trained.
        head: "whole" or "blocks", see `tasks.heads`.
        decoding: how solutions are written in evaluation; None = none are.
        mark: the ids of the text that begins the last line of a solution.
        prompt: the text before and behind a question.
        fills_slots: whether the written thoughts of all problems have as many tokens as there are
            slots; False where that is not known.

    Raises:
        ValueError: a weight is negative, or belongs to another kind of slots; or see
            `check_writes`.
    """

    thinker: Thinker
    bytes_per_position: float
    text_weight: Weight = 1.0
    written_weight: Weight = 1.0
    named_weight: Weight = 0.0
    decoder_weight: Weight = 0.0
    align_weight: Weight = 0.0
    start_weight: Weight = 1.0
    end_weight: Weight = 0.0
    head: str = "whole"
    decoding: Decoding | None = None
    mark: tuple[int, ...] = ()
    prompt: tuple[str, str] = ("", "")
    fills_slots: bool = False
    name = "latent_reasoning"
    headline = "bits_per_byte"
    fields = ("ids", "segment", "place", "opens", "result")
    tokenizer_flops_per_byte = 0.0

    def __post_init__(self):
        check_fields(self, "thoughts.")
        helps = dict.fromkeys(("named_weight", "decoder_weight", "align_weight"), ("latent",))
        for key, allowed in {**helps, "end_weight": ("latent", "written")}.items():
            if getattr(self, key) and self.thinker.slots not in allowed:
                raise ValueError(
                    f"thoughts.{key}={getattr(self, key)} is of slots that hold "
                    f"{' or '.join(allowed)}, and these hold {self.thinker.slots!r}: leave it at 0"
                )
        if self.end_weight and self.thinker.curriculum.steps:
            raise ValueError(
                "thoughts.end_weight draws how many thoughts are in use, and a curriculum says so: "
                "set one of them to 0"
            )
        if self.decoding:
            self.check_writes()

    def check_writes(self) -> None:
        """Refuse to write solutions whose written thoughts would not end as those of training do.

        Raises:
            ValueError: nothing ends a written thought before its slots are full, and those of the
                problems may be shorter.
        """
        if self.thinker.slots == "written" and not (self.thinker.ends or self.fills_slots):
            raise ValueError(
                "a written thought of the problems may be shorter than "
                f"thoughts.slots={self.model_config.layout.n_slots}, and thoughts.end_weight=0 "
                "trains nothing that ends one, so no solutions can be written: train with "
                "thoughts.end_weight=1, or write none (thoughts.segment=0, policy.group=0)"
            )

    @property
    def model_config(self):
        """The config of the reasoner."""
        return self.thinker.config

    @property
    def frozen(self):
        """See `Task` and `Thinker.frozen`."""
        return self.thinker.frozen

    @property
    def names_slots(self) -> bool:
        """Whether a token is predicted before every slot."""
        is_text = self.thinker.slots == "written" or self.thinker.curriculum.steps > 0
        return self.thinker.has_blocks and (is_text or self.named_weight > 0)

    @property
    def amounts(self):
        """Raw bytes of answers, and problems; see `Task`."""
        return {
            "bytes": self.bytes_per_position,
            "problems": 1.0 / self.model_config.layout.length,
        }

    @property
    def stacks(self):
        """What each pass of a trunk reads per row, see `Task`."""
        model, layout = self.model_config.model, self.model_config.layout
        stacks = [(model, layout.text)]
        if self.thinker.has_blocks:
            stacks.append((model, layout.n_blocks * (self.thinker.n_slots + 1)))
            stacks.append((model, steps_read(self.model_config, self.thinker.inline)))
        return tuple(stacks)

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte of text, thoughts, blocks and head, see `Task`."""
        return {part: cost.forward / self._row_bytes for part, cost in self._row_costs.items()}

    @property
    def flops_per_byte(self):
        """The sum of `component_flops`, see `Task`."""
        return sum(self.component_flops.values())

    @property
    def train_flops_per_byte(self):
        """FLOPs per raw byte of the forward and backward pass, see `Task` and `thought_flops`."""
        return sum(cost.train for cost in self._row_costs.values()) / self._row_bytes

    @property
    def _row_bytes(self) -> float:
        return self.bytes_per_position * self.model_config.layout.length

    @property
    def _row_costs(self):
        return self.thinker.row_costs(
            names_slots=self.names_slots,
            decodes=self.decoder_weight > 0,
            aligns=self.align_weight > 0,
            tries_ends=self.end_weight > 0,
        )

    def train_flops(self, seen):
        """Return the FLOPs of training on `seen["bytes"]`; see `Task`."""
        return self.train_flops_per_byte * seen["bytes"]

    def init(self, key, batch):
        """Draw parameters; see `Task`."""
        return Reasoner(self.model_config).init(key, batch["ids"][:, :2])

    def loss(self, variables, batch, key, step, train):
        """Return the loss of the first phase; see `Task`."""
        trunks, problems = self._opened(variables, batch)
        limit_BJ = None
        if self.end_weight and train and self.thinker.slots == "latent":
            shape = problems.n_written_BJ.shape
            limit_BJ = jax.random.randint(key, shape, 0, self.thinker.n_thoughts + 1)
        found = self.thinker.run(trunks, problems, self.thinker.curriculum(step), limit_BJ)
        scores = self._scores(trunks, problems, batch, found)
        without = scores["result_nats_without"] + scores["rest_nats_without"]
        objective = scores["opening_nats"] + self.start_weight * scores["start_nats"]
        if not self.thinker.has_blocks:
            objective += without
        else:
            objective += self.text_weight * without
            objective += scores["result_nats_with"] + scores["rest_nats_with"]
        if self.names_slots:
            objective += self.written_weight * scores["written_nats"]
            objective += self.named_weight * scores["named_nats"]
        if self.decoder_weight:
            objective += self.decoder_weight * scores["decoded_nats"]
        if self.align_weight:
            objective += self.align_weight * (scores["alignment"] + scores["teacher_nats"])
        if self.end_weight:
            objective += self.end_weight * end_nats(
                self.thinker, trunks, problems, found, self.head
            )
        return objective / jnp.maximum(scores["weight"], 1.0), (scores, {})

    def evaluate(self, variables, batch):
        """Return sums behind a problem's own thoughts, without any, and behind another's.

        The other one is the next row, so a batch of one row has no such sums.
        """
        trunks, problems = self._opened(variables, batch)
        last = jnp.int32(self.thinker.n_thoughts)
        found = self.thinker.run(trunks, problems, last)
        scores = self._scores(trunks, problems, batch, found)
        # A row alone has no other problem, whose thoughts could be read in place of its own.
        if self.thinker.has_blocks and len(problems.ids_BT) > 1:
            scores |= swapped_scores(self.thinker, trunks, problems, found)
        if self.decoding:
            scores |= solution_scores(
                self.thinker, variables["params"], problems, self.decoding, self.mark
            )
        return scores

    def summarize(self, sums):
        """Return the metrics of summed scores; see `reasoning_scores.summarize`."""
        return summarize(sums)

    def _opened(self, variables, batch) -> tuple[Trunks, Problems]:
        config = self.model_config
        return Trunks(config, variables["params"]), Problems.of(batch, config.layout)

    def _scores(self, trunks: Trunks, problems: Problems, batch, found: Pass):
        scores = text_scores(trunks, problems, batch, found, self.head)
        scores |= start_scores(trunks, problems, found)
        if self.thinker.has_blocks:
            scores |= block_scores(trunks, problems, found, self.head, names_slots=self.names_slots)
        helped = self.thinker, trunks, problems, found, self.head
        if self.decoder_weight:
            scores |= decoder_scores(*helped)
        if self.align_weight:
            scores |= alignment_scores(*helped)
        return scores
