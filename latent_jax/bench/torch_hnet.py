"""H-Net by the package h-net-dynamic-chunking (Phil Wang, PyTorch, MIT), to compare speed.

Importing this module needs PyTorch and that package. What is like ours, and what is not:

same        width, blocks, heads and feed-forward width of encoder, decoder and main network; causal
            attention with rotary positions, SiLU gates, RMS norms, no biases in the blocks; a norm
            at the end of each network; cosine router, moving average over chunks, confidence with
            a straight-through gradient, ratio loss; head tied to the embedding; AdamW and gradients
            clipped at norm 1; float32 on a CPU, bfloat16 on a GPU
not same    encoder and decoder are attention, because the package has no Mamba-2; the residual is a
            linear map with a bias that begins at random, as do the router's projections; gradients
            are scaled at the ends of the inner network in place of learning rates; nothing holds
            the rate, and as many chunks are computed as the row with the most of them has

Its networks are `Decoder`s of x-transformers with `scaled_dot_product_attention`. They stand in a
module that passes no mask on, because rows are full and padding of chunks comes last: with masks,
as when the package makes the decoders itself, a step took 1.4 to 1.9 times as long on a CPU.
"""

import statistics

import numpy as np
import torch
import torch.nn.functional as F
from h_net_dynamic_chunking import HNet
from torch import nn
from x_transformers import Decoder

from latent_jax.bench.chunk_rates import flops_at_rates
from latent_jax.bench.chunking_sides import PEER
from latent_jax.bench.torch_gpt import torch_device
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.reach import AttentionReach
from latent_jax.models.hierarchy_config import HierarchicalConfig

BLOCKS = dict(
    window=0, positions="rotary", norm="rms", gated=True, activation="silu", use_bias=False
)
"""What the blocks of both are like."""


class TorchHNet(nn.Module):
    """Logits float32[B, T, V] and the ratio loss, weighted, from ids int64[B, T].

    Attributes:
        n_cut: int64 scalar, chunks of all rows of the last pass; padding is not counted.
    """

    def __init__(self, config: HierarchicalConfig):
        """Create random parameters.

        Raises:
            ValueError: the package cannot make such a model.
        """
        super().__init__()
        check_peer(config)
        stage = config.stage
        self.token_embedding = nn.Embedding(config.vocab_size, stage.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        parts = (stage.outer.stack, stage.inner.stack, stage.after.stack)
        self.hnet = HNet(
            *map(_Network, parts),
            dim=stage.width,
            dim_inner=stage.inner.width,
            target_avg_token_length=stage.chunker.rate,
        )

    def forward(self, ids_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of the next id at every position, and the loss of the router."""
        result = self.hnet(self.token_embedding(ids_BT), return_intermediates=True)
        self.n_cut = result.intermediates.boundary_mask.sum()
        return result.output @ self.token_embedding.weight.T, result.loss

    @property
    def n_chunks(self) -> int:
        """K of the last pass: chunks that were computed in each row, padding included."""
        return self.hnet.network.length

    @torch.no_grad()
    def aim(self, ids_BT: torch.Tensor, rate: float) -> None:
        """Set the threshold of p at which these rows have `rate` positions per chunk."""
        chunker = self.hnet.dynamic_sequence_chunker
        encoded_BTD = self.hnet.encoder(self.token_embedding(ids_BT))
        _, found = chunker(encoded_BTD, return_intermediates=True)
        chunker.boundary_threshold = float(found.probs.flatten().quantile(1.0 - 1.0 / rate))


class _Network(nn.Module):
    """A stack of causal attention; it keeps the length of its last input."""

    def __init__(self, stack: TransformerConfig):
        super().__init__()
        self.length = 0
        self.decoder = Decoder(
            dim=stack.d_model,
            depth=stack.n_layers,
            heads=stack.n_heads,
            attn_dim_head=stack.head_size,
            attn_flash=True,
            rotary_pos_emb=True,
            rotary_emb_dim=stack.head_size,
            use_rmsnorm=True,
            # The package rounds the product of width and factor down.
            ff_mult=(stack.hidden_size + 0.5) / stack.d_model,
            ff_glu=True,
            ff_swish=True,
            ff_no_bias=True,
            verbose=False,
        )

    def forward(self, x_BTD):
        self.length = x_BTD.shape[1]
        return self.decoder(x_BTD)


class TorchHNetSteps:
    """Train steps of the model, one AdamW step each, where JAX computes: a CPU or a GPU."""

    def __init__(self, config: HierarchicalConfig, learning_rate: float, n_threads: int):
        """Create the model and its optimizer.

        Args:
            config: of the model of this project that is to be compared.
            learning_rate: constant.
            n_threads: of PyTorch on a CPU.

        Raises:
            ValueError: see `check_peer` and `torch_device`.
        """
        torch.set_num_threads(n_threads)
        self.config, self.device = config, torch_device()
        self.model = TorchHNet(config).to(self.device)
        self._n_chunks: list[int] = []
        self._n_cut: list[torch.Tensor] = []
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
        )

    @property
    def n_parameters(self) -> int:
        """Numbers that the model consists of."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def aim(self, ids_BT: np.ndarray) -> None:
        """Set the threshold for rows that follow; the package has no control of the rate."""
        inputs_BT, _ = self._rows(ids_BT)
        self._n_chunks.clear()
        self._n_cut.clear()
        self.model.aim(inputs_BT, self.config.stage.chunker.rate)

    def step(self, ids_BT: np.ndarray) -> torch.Tensor:
        """Return the loss, a scalar, of a step on rows int32[B, T]."""
        inputs_BT, targets_BT = self._rows(ids_BT)
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on_gpu):
            logits_BTV, of_router = self.model(inputs_BT)
            loss = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten())
        self._optimizer.zero_grad(set_to_none=True)
        (loss + of_router).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._n_chunks.append(self.model.n_chunks)
        self._n_cut.append(self.model.n_cut)
        return loss.detach()

    def wait(self) -> None:
        """Return when the last step is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def n_chunks(self) -> float:
        """K, which is paid for, on average over the steps since `aim`."""
        return statistics.mean(self._n_chunks)

    @property
    def n_cut(self) -> float:
        """Chunks of all rows without padding, on average over the steps since `aim`."""
        return statistics.mean(map(float, self._n_cut))

    def flops_per_position(self, length: int) -> float:
        """Return forward FLOPs per position of these steps, counted as those of our model.

        Args:
            length: T.
        """
        each = [flops_at_rates(self.config, length, [length / n]) for n in self._n_chunks]
        return statistics.mean(each)

    def _rows(self, ids_BT: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what positions read, and what they predict."""
        targets_BT = torch.from_numpy(ids_BT).to(self.device).long()
        return F.pad(targets_BT[:, :-1], (1, 0), value=self.config.separator_id), targets_BT


def check_peer(config: HierarchicalConfig) -> None:
    """Raise ValueError where the package cannot make a model of the same shape."""
    stage = config.stage
    parts = (stage.outer, stage.inner, stage.after)
    kinds = [type(part).__name__ for part in parts]
    if set(kinds) != {AttentionReach.__name__} or len(config.stages) > 1:
        raise ValueError(
            f"{PEER} is compared with one stage that has attention in encoder and decoder; here "
            f"are {len(config.stages)} and {', '.join(kinds)}"
        )
    for part in parts:
        stack = part.stack
        has = dict(
            window=part.window,
            positions=stack.positions,
            norm=stack.norm,
            gated=stack.gated,
            activation=stack.activation,
            use_bias=stack.use_bias,
        )
        if has != BLOCKS:
            raise ValueError(f"{PEER} is compared with blocks of {BLOCKS}; here are {has}")
