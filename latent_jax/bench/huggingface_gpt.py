"""A GPT of this project in transformers, to compare the speed of generation.

Importing this module needs PyTorch and transformers.
"""

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from latent_jax.models import hugging_face
from latent_jax.models.gpt import GPTConfig


def to_transformers(config: GPTConfig, params) -> PreTrainedModel:
    """Return the same model with the same parameters as a model of `transformers`.

    Args:
        config: see `models.hugging_face`.
        params: the "params" collection of that config.

    Raises:
        ValueError: transformers has no such model.
    """
    words, tensors = hugging_face.to_hugging_face(config, params)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**words)).eval()
    state = {name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}
    wrong = model.load_state_dict(state, strict=False)
    if wrong.unexpected_keys or set(wrong.missing_keys) > {"lm_head.weight"}:
        raise ValueError(f"transformers has other parameters for this network: {wrong}")
    model.tie_weights()
    return model
