"""The config keys of a training run: what the loop does and when, and the optimizer."""

import dataclasses

from latent_jax.nearest import check_word

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

    seed: int = 0  # of the parameters and of every random draw in a step; the data has its own
    strategy: str = "pmap"  # one of STRATEGIES
    model_parallel: int = 1  # devices on the model axis; more than 1 only under "tensor"
    accumulation: int = 1  # micro-batches per step; the global batch is split evenly among them
    log_every: int = 10  # steps summed into one training record
    eval_every: int = 500  # steps between evaluations; 0 evaluates after the last step only
    save_every: int = 500  # steps between checkpoints; 0 saves after the last step only
    keep_latest: int = 2  # most recent checkpoints kept
    keep_best: int = 1  # checkpoints kept besides, by best_metric; 0 keeps none
    best_metric: str = "bits_per_byte"  # of the validation record, also shown; lower is better
    patience: int = 0  # evaluations in a row without a better best_metric that end the run; 0 = off
    restore_step: int = -1  # checkpoint to resume from; -1 is the latest
    # weights a new run begins with: a run folder, RUN/checkpoints/STEP, or a .npz or .safetensors
    init_from: str = ""
    init_patterns: tuple[str, ...] = (".*",)  # regexes of whole paths: what init_from gives
    progress: bool = True  # draw a bar on a terminal, print lines elsewhere
    wandb: str = ""  # project of Weights & Biases that gets the records too; "" = off
    profile: int = 0  # steps of this start that are traced into the run folder's profile/

    def __post_init__(self):
        check_word("strategy", self.strategy, STRATEGIES)
        for field in ("model_parallel", "accumulation", "log_every", "keep_latest"):
            _check_least(self, field, 1)
        for field in ("eval_every", "save_every", "keep_best", "patience", "profile"):
            _check_least(self, field, 0)
        _check_least(self, "restore_step", -1)
        if self.model_parallel > 1 and self.strategy != "tensor":
            raise ValueError(
                f'model_parallel={self.model_parallel} needs strategy="tensor"; '
                f"it is {self.strategy!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its learning-rate schedule.

    Raises:
        ValueError: a choice is unknown or a number out of range; the message names the field.
    """

    name: str = "adamw"  # one of OPTIMIZERS
    learning_rate: float = 1e-3  # peak, reached at the end of the warm-up
    schedule: str = "cosine"  # after the warm-up, one of SCHEDULES
    warmup_steps: int = 100  # of a linear rise to the peak; must be less than the steps of the run
    final_fraction: float = 0.1  # cosine and wsd end at this share of the peak
    decay_fraction: float = 0.1  # wsd: share of all steps in which it decays, at the end
    b1: float = 0.9  # decay of the first moment; 0 saves its memory under Adafactor
    b2: float = 0.95  # decay of the second moment (AdamW); Adafactor uses 1 - t^-0.8
    epsilon: float = 1e-8  # added to the root of the second moment (AdamW)
    weight_decay: float = 0.1  # decoupled, times the learning rate
    no_weight_decay: tuple[str, ...] = (
        r"(^|/)bias$",
        r"(^|/)scale$",
        r"position",
        r"norm",
        r"codebook",
        r"(^|/)(A_log|D|dt_bias)$",  # of a state-space block: Gu and Dao 2023 do not decay them
    )  # regexes searched in "/"-joined paths; arrays of one axis or none are never decayed either
    clip_norm: float = 1.0  # global norm of the gradient is scaled down to this; 0 turns it off

    def __post_init__(self):
        check_word("optimizer.name", self.name, OPTIMIZERS)
        check_word("optimizer.schedule", self.schedule, SCHEDULES)
        for field in ("warmup_steps", "weight_decay", "clip_norm", "b1", "b2", "epsilon"):
            _check_least(self, field, 0)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be more than 0; got {self.learning_rate}")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"final_fraction must be in [0, 1]; got {self.final_fraction}")
        if not 0 < self.decay_fraction <= 1:
            raise ValueError(f"decay_fraction must be in (0, 1]; got {self.decay_fraction}")
        if self.b1 >= 1 or self.b2 >= 1:
            raise ValueError(f"b1 and b2 must be less than 1; got {self.b1} and {self.b2}")


def _check_least(config, field: str, least: int) -> None:
    if getattr(config, field) < least:
        raise ValueError(f"{field} must be at least {least}; got {getattr(config, field)}")
