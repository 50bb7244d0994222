"""The config of a stack of transformer blocks, which all networks with such a stack share."""

import dataclasses
from typing import Annotated, Self

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.norms import EPSILON
from latent_jax.platform import Platform
from latent_jax.ranges import Size, at_least, check_fields, more_than, one_of, within

REMAT_POLICIES = ("auto", "none", "dots", "block")
"""What the backward pass recomputes:

- "none": only norms and activations, from their inputs; the other policies recompute these too;
- "dots": everything except the results of the weight matmuls, so attention too;
- "block": everything inside a block, from the block's input;
- "auto": the first of these that fits the memory of a device, see `costs.memory`; "none" where
  nothing is trained.
"""

ATTENTION_IMPLEMENTATIONS = ("auto", "tiled", "xla", "recomputed", "cudnn", "splash")
"""How attention is computed:

- "tiled": in tiles of queries, the fastest on CPU;
- "xla": as XLA compiles it;
- "recomputed": by XLA, and the backward pass computes the scores again, so none are stored;
- "cudnn": by cuDNN's flash attention (NVIDIA GPU), for shapes that it takes, else "recomputed";
- "splash": by JAX's splash attention (TPU), for shapes that it takes, else "recomputed";
- "auto": the choice of the platform, see `TransformerConfig.resolved`.
"""

PLATFORMS_CHOICE = dict(dtype="auto", attention_implementation="auto", scan_unroll=0, remat="auto")
"""The values by which configs leave a choice to the platform, or remat to the device's memory."""

KERNEL_OWNERS = {"cudnn": "cuda", "splash": "tpu"}
"""Attention implementation -> the only platform that has it."""

DTYPES = {"float32": 4, "bfloat16": 2}
"""dtype -> bytes per number."""

NORMS = ("layer", "rms")
"""Layer normalisation as in GPT-2, or RMS normalisation as in T5."""

POSITIONS = ("learned", "relative", "rotary")
"""How positions enter:

- "learned": a learned row per position, added to the input (GPT-2);
- "relative": a learned bias per head and distance, added to the scores in every layer (T5);
- "rotary": queries and keys are rotated by an angle that depends on their position (RoFormer).
"""

WIDEST, MOST_LAYERS, MOST_IDS = 2**17, 10_000, 2**28
"""Limits of a width, a depth and a vocabulary, that only a mistake goes beyond."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shapes and numerics of a pre-norm transformer.

    Attributes:
        vocab_size: V, rows of the embedding table.
        max_length: rows of the learned position table; the longest input.
        positions: one of `POSITIONS`. Under "relative" and "rotary" an input may be longer than
            `max_length`.
        relative_buckets: number of buckets of distances under "relative".
        relative_distance: all distances from this one on share the last bucket.
        rope_theta: base of the angles under "rotary", see `layers.rotary`.
        n_layers: number of blocks.
        d_model: D, width of the residual stream.
        n_heads: H; must divide `d_model`.
        n_kv_heads: G, heads of keys and values, each read by H / G heads of queries (grouped-query
            attention, Ainslie et al. 2023, section 2.2); 0 means H. Must divide `n_heads`.
        d_ff: F, width of the hidden layer of a feed-forward part; 0 means 4 D.
        dropout: rate on the embeddings and on every residual branch, in training only; 0 = none.
        activation: one of `ACTIVATIONS`.
        gated: multiply the activated hidden layer by a second one, W_up x (Shazeer 2020).
        norm: one of `NORMS`.
        norm_epsilon: added to the variance, or to the mean square, under the root of a norm.
        use_bias: whether dense layers add a bias.
        qkv_bias: whether queries, keys and values have a bias and no other layer has one, as in
            Qwen2; only without `use_bias`, which gives them one too.
        dtype: one of `DTYPES`, for activations and matmuls. Parameters, softmax, norms and logits
            are always float32.
        remat: one of `REMAT_POLICIES`.
        attention_implementation: one of `ATTENTION_IMPLEMENTATIONS`.
        scan_unroll: blocks per iteration of the scan over depth; 0 is the platform's choice.
            `n_layers` unrolls the whole scan. XLA's FLOP count needs that, because it counts the
            body of a loop once.

    Three values are choices left open: attention_implementation="auto", scan_unroll=0 and
    remat="auto". `resolved` makes these choices before a model is built, so that no layer asks for
    the platform.

    Raises:
        ValueError: a word is unknown (the message names the nearest), or a number is out of range.
    """

    vocab_size: Annotated[int, at_least(0, MOST_IDS)]
    max_length: Size
    n_layers: Annotated[int, at_least(1, MOST_LAYERS)]
    d_model: Annotated[int, at_least(1, WIDEST)]
    n_heads: Annotated[int, at_least(1, WIDEST)]
    d_ff: Annotated[int, at_least(0, 16 * WIDEST)] = 0
    gated: bool = False
    norm: Annotated[str, one_of(NORMS)] = "layer"
    norm_epsilon: Annotated[float, more_than(0, 1)] = EPSILON
    use_bias: bool = True
    qkv_bias: bool = False
    positions: Annotated[str, one_of(POSITIONS)] = "learned"
    relative_buckets: Annotated[int, at_least(4, 2**16)] = 32
    relative_distance: Annotated[int, at_least(5)] = 128
    rope_theta: Annotated[float, more_than(1, 1e30)] = 10_000.0
    n_kv_heads: Annotated[int, at_least(0, WIDEST)] = 0
    dropout: Annotated[float, within("[0, 1)")] = 0.0
    activation: Annotated[str, one_of(ACTIVATIONS)] = "gelu"
    dtype: Annotated[str, one_of(DTYPES)] = "float32"
    remat: Annotated[str, one_of(REMAT_POLICIES)] = "none"
    attention_implementation: Annotated[str, one_of(ATTENTION_IMPLEMENTATIONS)] = "tiled"
    scan_unroll: Annotated[int, at_least(0, MOST_LAYERS)] = 1

    def __post_init__(self):
        """Check every word and number."""
        check_fields(self)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model: {self.d_model} is no multiple of {self.n_heads}"
            )
        if self.n_heads % self.key_value_heads:
            raise ValueError(
                f"n_kv_heads must divide n_heads={self.n_heads}, or be 0 for as many; "
                f"got {self.n_kv_heads}"
            )
        if self.qkv_bias and self.use_bias:
            raise ValueError(
                "qkv_bias gives queries, keys and values alone a bias, and use_bias all layers: "
                "set use_bias=False, or leave qkv_bias out"
            )
        if self.relative_buckets % 4:
            raise ValueError(
                f"relative_buckets must be a multiple of 4; got {self.relative_buckets}"
            )
        if self.relative_distance <= self.relative_buckets:
            raise ValueError(
                f"relative_distance must be more than relative_buckets={self.relative_buckets}; "
                f"got {self.relative_distance}"
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise ValueError(
                f"rotary positions turn pairs of features: d_model / n_heads must be even; "
                f"got {self.head_size}"
            )

    def resolved(self, platform: Platform) -> Self:
        """Return the config with every choice made that it leaves to the platform.

        Raises:
            ValueError: the config names a kernel of another platform.
        """
        implementation = self.attention_implementation
        owner = KERNEL_OWNERS.get(implementation, platform.kind)
        if owner != platform.kind:
            raise ValueError(
                f"attention_implementation={implementation!r} is a kernel of {owner}, and the "
                f"program is for {platform.kind}: leave it at auto"
            )
        return dataclasses.replace(
            self,
            attention_implementation=(
                platform.attention if implementation == "auto" else implementation
            ),
            scan_unroll=self.scan_unroll or platform.scan_unroll(self.n_layers),
            remat="none" if self.remat == "auto" else self.remat,
        )

    @property
    def unrolled(self) -> Self:
        """The same network without a loop over layers, which is faster for steps of few rows."""
        return dataclasses.replace(self, scan_unroll=self.n_layers)

    @property
    def head_size(self) -> int:
        """D / H, the width of one head."""
        return self.d_model // self.n_heads

    @property
    def key_value_heads(self) -> int:
        """G, the heads of keys and values."""
        return self.n_kv_heads or self.n_heads

    @property
    def has_qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return self.use_bias or self.qkv_bias

    @property
    def hidden_size(self) -> int:
        """F, the width of the hidden layer of a feed-forward part."""
        return self.d_ff or 4 * self.d_model

    @property
    def kept_bytes(self) -> float:
        """Bytes per position that all blocks keep from the forward pass for the backward pass.

        Under remat="none" a block keeps the stream before each norm and the result of each norm;
        queries, keys and values; the result of attention, twice; and the hidden layer before and
        after its activation. Attention scores are not counted, because the implementations of
        accelerators do not keep them.
        """
        width, n_hidden = self.d_model, 1 + self.gated
        keys_and_values = 2 * self.key_value_heads * self.head_size
        numbers = {
            "none": 7 * width + keys_and_values + (1 + n_hidden) * self.hidden_size,
            "dots": 3 * width + keys_and_values + n_hidden * self.hidden_size,
            "block": width,
        }[self.remat]
        masks = 2 * width if self.dropout else 0
        return float(self.n_layers * (DTYPES[self.dtype] * numbers + masks))

    def stack_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per position of all blocks by component, for rows of `length`.

        A multiply-add is two FLOPs, and only matmuls count. All T x T scores count, which is the
        convention (Chowdhery et al. 2022, "PaLM", appendix B), though a causal kernel may skip half
        of them.
        """
        queries_and_out = 2 * 2 * self.d_model**2
        keys_and_values = 2 * 2 * self.d_model * self.key_value_heads * self.head_size
        projections = queries_and_out + keys_and_values
        scores_and_values = 2 * 2 * length * self.d_model
        return {
            "attention": float(self.n_layers * (projections + scores_and_values)),
            "feed_forward": float(
                self.n_layers * 2 * (3 if self.gated else 2) * self.d_model * self.hidden_size
            ),
        }
