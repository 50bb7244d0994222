"""A GPT of this project as Hugging Face's GPT-2, to compare the speed of generation with; importing
it needs PyTorch and transformers.
"""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from latent_jax.bench.torch_gpt import at_depth, copy, copy_norm
from latent_jax.models.gpt import GPTConfig


def to_hugging_face(config: GPTConfig, params) -> GPT2LMHeadModel:
    """Return the same network, with the same parameters, as `transformers` runs it.

    Args:
        config: GPT-2's own shape: learned positions, layer norm, GELU, biases.
        params: the "params" collection of that config.

    Raises:
        ValueError: the config is no GPT-2.
    """
    words = (config.positions, config.norm, config.activation, config.use_bias)
    if words != ("learned", "layer", "gelu", True):
        raise ValueError(f"GPT-2 has learned positions, layer norm, GELU and biases; got {words}")
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.max_length,
            n_embd=config.d_model,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            n_inner=config.hidden_size,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    with torch.no_grad():
        _copy_all(model.transformer, params)
    return model


def _copy_all(network, params) -> None:
    copy(network.wte.weight, params["token_embedding"]["embedding"])
    copy(network.wpe.weight, params["position_embedding"]["embedding"])
    copy_norm(network.ln_f, params["stack"]["final_norm"])
    blocks = params["stack"]["blocks"]
    for depth, theirs in enumerate(network.h):
        ours = at_depth(blocks, depth)
        copy_norm(theirs.ln_1, ours["attention_norm"])
        copy_norm(theirs.ln_2, ours["feed_forward_norm"])
        # [D, H, 3, d] here, [D, 3 H d] there.
        kernel, bias = (np.array(ours["attention"]["query_key_value"][k]) for k in _DENSE)
        copy(theirs.attn.c_attn.weight, kernel.transpose(0, 2, 1, 3))
        copy(theirs.attn.c_attn.bias, bias.transpose(1, 0, 2))
        _copy_dense(theirs.attn.c_proj, ours["attention"]["out"])
        _copy_dense(theirs.mlp.c_fc, ours["feed_forward"]["up"])
        _copy_dense(theirs.mlp.c_proj, ours["feed_forward"]["down"])


_DENSE = ("kernel", "bias")


def _copy_dense(layer, ours) -> None:
    copy(layer.weight, ours["kernel"])
    copy(layer.bias, ours["bias"])
