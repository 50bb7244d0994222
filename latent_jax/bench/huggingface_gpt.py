"""A GPT of this project as transformers runs it, to compare the speed of generation with; importing
it needs PyTorch and transformers.
"""

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from latent_jax.models import hugging_face
from latent_jax.models.gpt import GPTConfig


def to_transformers(config: GPTConfig, params) -> PreTrainedModel:
    """Return the same network, with the same parameters, as `transformers` runs it.

    Args:
        config: see `models.hugging_face`.
        params: the "params" collection of that config.

    Raises:
        ValueError: transformers has no such network.
    """
    words, tensors = hugging_face.to_hugging_face(config, params)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**words)).eval()
    state = {name: torch.from_numpy(np.array(x)) for name, x in tensors.items()}
    wrong = model.load_state_dict(state, strict=False)
    if wrong.unexpected_keys or set(wrong.missing_keys) > {"lm_head.weight"}:
        raise ValueError(f"transformers has other parameters for this network: {wrong}")
    model.tie_weights()
    return model
