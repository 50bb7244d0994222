"""The GPT of `latent_jax.models.gpt` in PyTorch, to compare speed; importing it needs PyTorch.

It is written as a PyTorch user would write it: `scaled_dot_product_attention`, one matmul for
queries, keys and values, the optimizer's fused kernel; on a GPU also `torch.compile` and autocast
to bfloat16.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from latent_jax.models.gpt import GPTConfig
from latent_jax.platform import Platform


class TorchGPT(nn.Module):
    """Logits float32[B, T, V] from ids int64[B, T]; GELU in its tanh form, no dropout."""

    def __init__(self, config: GPTConfig):
        """Create random parameters; the time of a step does not depend on their values."""
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.max_length, config.d_model)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.n_layers))
        self.final_norm = nn.LayerNorm(config.d_model)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next id at every position."""
        positions_TD = self.position_embedding.weight[: ids_BT.shape[1]]
        x_BTD = self.token_embedding(ids_BT) + positions_TD
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.final_norm(x_BTD) @ self.token_embedding.weight.T

    @torch.no_grad()
    def copy_from(self, params) -> None:
        """Take the parameters of a JAX GPT: the "params" collection of the same config."""
        stack = params["stack"]
        copy(self.token_embedding.weight, params["token_embedding"]["embedding"])
        copy(self.position_embedding.weight, params["position_embedding"]["embedding"])
        copy_norm(self.final_norm, stack["final_norm"])
        for depth, block in enumerate(self.blocks):
            ours = {part: at_depth(tree, depth) for part, tree in stack["blocks"].items()}
            copy_norm(block.attention_norm, ours["attention_norm"])
            copy_norm(block.feed_forward_norm, ours["feed_forward_norm"])
            _copy_dense(block.query_key_value, ours["attention"]["query_key_value"])
            _copy_dense(block.out, ours["attention"]["out"])
            _copy_dense(block.up, ours["feed_forward"]["up"])
            _copy_dense(block.down, ours["feed_forward"]["down"])


class _Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        width, hidden = config.d_model, config.hidden_size
        self.n_heads = config.n_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x_BTD):
        qkv_BTH3d = self.query_key_value(self.attention_norm(x_BTD)).unflatten(
            -1, (self.n_heads, 3, -1)
        )
        q_BHTd, k_BHTd, v_BHTd = qkv_BTH3d.permute(3, 0, 2, 1, 4)
        h_BHTd = F.scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, is_causal=True)
        x_BTD = x_BTD + self.out(h_BHTd.transpose(1, 2).flatten(2))
        h_BTF = F.gelu(self.up(self.feed_forward_norm(x_BTD)), approximate="tanh")
        return x_BTD + self.down(h_BTF)


def make_torch_step(config: GPTConfig, learning_rate: float):
    """Return a function (inputs_BT, targets_BT) -> loss that takes one AdamW step.

    It runs where JAX does: on a GPU, in bfloat16, or on the CPU.

    Args:
        config: of the GPT.
        learning_rate: constant.

    Raises:
        ValueError: see `torch_device`.
    """
    device = torch_device()
    on_gpu = device.type == "cuda"
    model = TorchGPT(config).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def loss_of(inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu):
            logits_BTV = model(inputs_BT)
            return F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())

    if on_gpu:
        loss_of = torch.compile(loss_of)

    def step(inputs_BT: np.ndarray, targets_BT: np.ndarray) -> torch.Tensor:
        inputs_BT, targets_BT = (
            torch.from_numpy(ids_BT).to(device).long() for ids_BT in (inputs_BT, targets_BT)
        )
        loss = loss_of(inputs_BT, targets_BT)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def torch_device() -> torch.device:
    """Return PyTorch's device of the same kind as JAX's.

    Raises:
        ValueError: JAX has an accelerator that PyTorch does not see.
    """
    if Platform.current().kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            "JAX has an accelerator, but this PyTorch sees none: install a CUDA build of PyTorch, "
            "or compare on the CPU with JAX_PLATFORMS=cpu"
        )
    return torch.device("cuda")


def at_depth(tree, depth: int):
    """Return the parameters of one block from stacked parameters of all blocks."""
    if isinstance(tree, dict):
        return {name: at_depth(leaf, depth) for name, leaf in tree.items()}
    return tree[depth]


def copy(parameter, array) -> None:
    """Copy an array of the same size into a PyTorch parameter."""
    parameter.copy_(torch.from_numpy(np.array(array).reshape(parameter.shape)))


def copy_norm(norm, ours) -> None:
    """Copy our scale and bias into a PyTorch layer norm."""
    copy(norm.weight, ours["scale"])
    copy(norm.bias, ours["bias"])


def _copy_dense(linear, ours):
    n_out, n_in = linear.weight.shape
    copy(linear.weight, np.array(ours["kernel"]).reshape(n_in, n_out).T)
    copy(linear.bias, ours["bias"])
