"""Language modeling over bytes with the integers of a model file in the loop."""

import dataclasses
import math

import jax.numpy as jnp

from latent_jax.exact import bounds
from latent_jax.models import quantized_gpt
from latent_jax.tasks.language_modeling import LanguageModeling, shift_right
from latent_jax.tasks.losses import log_partition, token_nats


@dataclasses.dataclass(frozen=True)
class IntegerLanguageModeling(LanguageModeling):
    """`LanguageModeling` whose forward pass is that of an integer GPT (`models.quantized_gpt`).

    Raises:
        ValueError: the model has a shape that integers are not written for.
    """

    frozen: tuple[str, ...] = quantized_gpt.FROZEN
    name = "integer_language_modeling"

    def __post_init__(self):
        """Check the shape as well."""
        super().__post_init__()
        quantized_gpt.integer_config(self.model_config, self.row_length)
        quantized_gpt.check_trainable(self.model_config)

    @property
    def decays(self):
        """What weight decay reaches, see `training.decay`: no Flax module makes the parameters."""
        return quantized_gpt.decays(self.model_config)

    def init(self, key, batch):
        """Draw parameters; see `Task`. They are better taken from a float model."""
        del batch
        return {"params": quantized_gpt.initial(key, self.model_config)}

    def _sums(self, variables, ids_BT, weights_BT, train=False, rngs=None):
        """Return the sums of weighted nats with and without the z-loss, float32 scalars."""
        del train, rngs  # there is no dropout
        inputs_BT = shift_right(ids_BT, self.separator_id)
        logits_BTV = quantized_gpt.logits(
            variables["params"], self.model_config, inputs_BT, self.row_length
        )
        logits_BTV = logits_BTV * (math.log(2) * 2.0**-bounds.OCTAVE)
        nats = jnp.sum(token_nats(logits_BTV, ids_BT) * weights_BT)
        if not self.z_loss:
            return nats, nats
        log_z_BT = log_partition(logits_BTV)
        return nats + self.z_loss * jnp.sum(jnp.square(log_z_BT) * weights_BT), nats
