"""The decoder and the optimizer that M1 and M2 of Lester et al. 2024 share."""

from ml_collections import ConfigDict


def set_decoder(config: ConfigDict, shape: dict[str, int]) -> None:
    """Give the language model a shape and the paper's blocks.

    They have ReLU, RMS norm, no biases, and relative positions in every layer, as in T5X. The paper
    does not state the gate; the parameter counts in the names of its sizes imply it.
    """
    config.model.update(
        shape,
        activation="relu",
        gated=True,
        norm="rms",
        use_bias=False,
        positions="relative",
    )


def set_optimizer(
    config: ConfigDict, name: str, *, warmup_steps: int, adamw_learning_rate: float
) -> None:
    """Set the paper's Adafactor with rsqrt decay from 0.01, or AdamW with cosine decay."""
    config.optimizer.name = name
    config.optimizer.warmup_steps = warmup_steps
    config.optimizer.weight_decay = 0.0
    if name == "adafactor":
        config.optimizer.schedule = "rsqrt"
        config.optimizer.b1 = 0.0
        config.optimizer.learning_rate = 1e-2
    else:
        config.optimizer.learning_rate = adamw_learning_rate
