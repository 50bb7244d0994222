"""The config keys of a training run: what the loop does and when, and the optimizer."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Annotated

from latent_jax.ranges import (
    Count,
    Natural,
    Seed,
    at_least,
    check_fields,
    more_than,
    one_of,
    within,
)

STRATEGIES = ("pmap", "fsdp", "tensor")
"""How the work is laid over devices; see `training.sharding`."""

RESUMABLE = (
    "strategy",
    "model_parallel",
    "keep_latest",
    "keep_best",
    "restore_step",
    "progress",
    "profile",
    "patience",
    "wandb",
)
"""Fields of TrainingConfig that may change when a run is resumed."""

OPTIMIZERS = ("adamw", "adafactor")
SCHEDULES = ("cosine", "constant", "rsqrt", "wsd")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What the loop does, and when. All durations are optimizer steps.

    Raises:
        ValueError: a choice is unknown or a number out of range; the message names the field.
    """

    seed: Seed = 0  # of the parameters and of every random draw in a step; the data has its own
    strategy: Annotated[str, one_of(STRATEGIES)] = "pmap"  # one of STRATEGIES
    model_parallel: Count = 1  # devices on the model axis; more than 1 only under "tensor"
    accumulation: Count = 1  # micro-batches per step; the global batch is split evenly among them
    log_every: Count = 10  # steps summed into one training record
    eval_every: Natural = 500  # steps between evaluations; 0 evaluates after the last step only
    save_every: Natural = 500  # steps between checkpoints; 0 saves after the last step only
    keep_latest: Count = 2  # most recent checkpoints kept
    keep_best: Natural = 1  # checkpoints kept besides, by best_metric; 0 keeps none
    best_metric: str = "bits_per_byte"  # of the validation record, also shown; lower is better
    # evaluations in a row without a better best_metric that end the run; 0 = off
    patience: Natural = 0
    restore_step: Annotated[int, at_least(-1)] = -1  # checkpoint to resume from; -1 is the latest
    # weights a new run begins with: a run folder, RUN/checkpoints/STEP, a .npz or .safetensors, or
    # a published model: a .gguf or a folder of Hugging Face
    init_from: str = ""
    init_patterns: tuple[str, ...] = (".*",)  # regexes of whole paths: what init_from gives
    progress: bool = True  # draw a bar on a terminal, print lines elsewhere
    wandb: str = ""  # project of Weights & Biases that gets the records too; "" = off
    # steps of this start that are traced into the run folder's profile/; 0 = none
    profile: Natural = 0

    def __post_init__(self):
        check_fields(self, "training.")
        check_patterns("training.init_patterns", self.init_patterns)
        if self.model_parallel > 1 and self.strategy != "tensor":
            raise ValueError(
                f'training.model_parallel={self.model_parallel} needs strategy="tensor"; '
                f"it is {self.strategy!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule.

    Raises:
        ValueError: a choice is unknown or a number out of range; the message names the field.
    """

    name: Annotated[str, one_of(OPTIMIZERS)] = "adamw"  # one of OPTIMIZERS
    # peak, reached at the end of the warm-up
    learning_rate: Annotated[float, more_than(0, 1e3)] = 1e-3
    schedule: Annotated[str, one_of(SCHEDULES)] = "cosine"  # after the warm-up, one of SCHEDULES
    warmup_steps: Natural = 100  # linear from 0; must be less than the steps of the run; 0 = none
    # cosine and wsd end at this share of the peak; 0 = at a rate of 0
    final_fraction: Annotated[float, within("[0, 1]")] = 0.1
    # wsd: share of all steps in which it decays, at the end
    decay_fraction: Annotated[float, within("(0, 1]")] = 0.1
    # decay of the first moment; 0 saves its memory under Adafactor
    b1: Annotated[float, within("[0, 1)")] = 0.9
    # decay of the second moment (AdamW); Adafactor uses 1 - t^-0.8; 0 = none
    b2: Annotated[float, within("[0, 1)")] = 0.95
    # added to the root of the second moment (AdamW); 0 adds nothing
    epsilon: Annotated[float, at_least(0, 1.0)] = 1e-8
    # decoupled, times the learning rate; 0 turns it off
    weight_decay: Annotated[float, at_least(0, 1e3)] = 0.1
    # regexes searched in "/"-joined paths: what is not decayed, besides the biases, scales and
    # tables that modules declare so, see training.decay
    no_weight_decay: tuple[str, ...] = ()
    # global norm of the gradient is scaled down to this; 0 turns it off
    clip_norm: Annotated[float, at_least(0, 1e30)] = 1.0

    def __post_init__(self):
        check_fields(self, "optimizer.")
        check_patterns("optimizer.no_weight_decay", self.no_weight_decay)


def check_patterns(name: str, patterns: Iterable[str]) -> None:
    """Raise ValueError at the first text that is no regular expression."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from error
