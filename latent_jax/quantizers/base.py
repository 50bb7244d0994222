"""The config that all quantizers share, and `Quantized`, which they return.

A quantizer turns latent vectors into integer codes and back. `make_quantizer` builds all of them.
They share three methods: `__call__`, `lookup` and `log_assignment`.

Shape letters: N = B * K latents in one flat axis, and E, the width of one code (D where codes are
not projected).
"""

import dataclasses
import math
from typing import NamedTuple

import jax

from latent_jax.nearest import check_word
from latent_jax.quantizers.levels import levels_of

METRICS = ("cosine", "euclidean")
GRADIENTS = ("rotation", "straight_through")
CODEBOOK_UPDATES = ("ema", "learned")


class Quantized(NamedTuple):
    """A quantized batch of latents.

    Attributes:
        z_q_BKD: the quantized vectors in the dtype of the input; gradients pass through them to
            the input.
        codes_BK: int32 codes in [0, V); -1 everywhere for kind "none". A masked position has the
            code of its vector, but no sum counts it.
        aux_loss: float32 scalar to add to the training loss, a mean over real positions.
        stats: float32 sums over the real positions of the batch: "code_counts" [V],
            "quantization_error_sum" (squared distances from projected latents to their codes),
            "n_latents" and "n_restarted" (dead codes replaced in this step).
    """

    z_q_BKD: jax.Array
    codes_BK: jax.Array
    aux_loss: jax.Array
    stats: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """The options of all quantizers; each kind reads its own and ignores the others.

    Raises:
        ValueError: an option has a value that no quantizer can use.
    """

    kind: str = "vq"  # "vq", "rvq", "fsq" or "none" (continuous)
    codebook_size: int = 512  # V; 0 for "none"
    d_model: int = 256  # D, width of the latents before and after quantization
    temperature: float = 0.1  # of log_assignment; use 0.02 for fine grids (FSQ)

    # vq: the space in which codes are compared
    code_dim: int = 32  # E, width of the learned projection that codes live in; 0 = no projection
    metric: str = "cosine"  # "cosine" (latents and codes on the unit sphere) or "euclidean"

    # vq: the gradient of the encoder
    gradient: str = "straight_through"  # or "rotation"
    commitment_weight: float = 1.0  # weight of the squared distance of a latent to its code

    # vq: the update of the codes
    codebook_update: str = "ema"  # "ema" or "learned" (codebook loss through the optimizer)
    ema_decay: float = 0.9  # decay per training step of the usage and the mean of each code
    kmeans_iterations: int = 10  # Lloyd iterations on the first training batch; 0 = random codes
    kmeans_latents: int = 65536  # most latents of that batch that k-means uses
    # vq: dead codes; during a run the period grows and the threshold falls by the same factor
    restart_threshold: float = 0.1  # dead below this share of the mean usage; 0 = never restart
    restart_period: int = 10  # training steps between restarts of dead codes, at the start

    # rvq, besides all options of vq
    n_codebooks: int = 2  # stages; their sizes are as equal as factors of V can be
    # fsq
    fsq_levels: tuple[int, ...] = ()  # number of levels of each dimension; () = chosen for V

    def __post_init__(self):
        """Check the options, because some wrong values would show only late in a run."""
        check_word("quantizer metric", self.metric, METRICS)
        check_word("quantizer gradient", self.gradient, GRADIENTS)
        check_word("quantizer codebook_update", self.codebook_update, CODEBOOK_UPDATES)
        if self.kind == "none" and self.codebook_size != 0:
            raise ValueError(
                f"quantizer kind 'none' has no codes but codebook_size = {self.codebook_size}; "
                "set codebook_size = 0"
            )
        if self.kind != "none" and self.codebook_size < 2:
            raise ValueError(
                f"quantizer codebook_size = {self.codebook_size} leaves nothing to choose; it must "
                "be at least 2 (or use kind 'none' for continuous latents)"
            )
        if self.kind == "fsq" and (
            min(self.levels) < 2 or math.prod(self.levels) != self.codebook_size
        ):
            raise ValueError(
                f"fsq_levels = {self.levels} make {math.prod(self.levels)} codes but codebook_size "
                f"= {self.codebook_size}; each must be 2 or more and their product codebook_size"
            )
        if self.kind == "rvq" and min(self.stage_sizes) < 2:
            raise ValueError(
                f"codebook_size = {self.codebook_size} is no product of n_codebooks = "
                f"{self.n_codebooks} stages of 2 codes or more; choose a power of 2: 1024 allows "
                "up to 10 stages"
            )
        for name, low, high in (
            ("d_model", 1, None),
            ("code_dim", 0, None),
            ("commitment_weight", 0, None),
            ("ema_decay", 0, 1),
            ("kmeans_iterations", 0, None),
            ("kmeans_latents", 1, None),
            ("restart_threshold", 0, 1),
            ("restart_period", 1, None),
            ("n_codebooks", 2, None),
        ):
            value = getattr(self, name)
            if value < low or (high is not None and value >= high):
                upper = "" if high is None else f" and below {high}"
                raise ValueError(
                    f"quantizer {name} = {value} is out of range; it must be at least {low}{upper}"
                )
        if self.temperature <= 0:
            raise ValueError(f"quantizer temperature = {self.temperature} must be above 0")

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels per dimension of the FSQ grid, chosen for `codebook_size` where none are given."""
        return self.fsq_levels or levels_of(self.codebook_size)

    @property
    def stage_sizes(self) -> tuple[int, ...]:
        """Codes of each stage of an RVQ, largest first; their product is `codebook_size`.

        Each size is the smallest divisor of what is left of `codebook_size` that is at least the
        geometric mean of the sizes still to choose.
        """
        sizes, left = [], self.codebook_size
        for n_stages in range(self.n_codebooks, 0, -1):
            sizes.append(
                next(n for n in range(1, left + 1) if left % n == 0 and n**n_stages >= left)
            )
            left //= sizes[-1]
        return tuple(sizes)

    @property
    def code_width(self) -> int:
        """E, the number of dimensions in which latents are quantized; 0 for kind "none"."""
        if self.kind == "none":
            return 0
        return len(self.levels) if self.kind == "fsq" else self.code_dim or self.d_model

    def forward_flops(self) -> dict[str, float]:
        """Return forward FLOPs per latent by component, matmuls only; a multiply-add is 2 FLOPs."""
        width = self.code_width
        projected = self.kind == "fsq" or self.code_dim > 0
        compared = (self.codebook_size,) if self.kind == "vq" else ()
        if self.kind == "rvq":
            compared = self.stage_sizes
        return {
            "projection": 4.0 * self.d_model * width if projected else 0.0,
            # The search adds the norm of each code as one more dimension.
            "search": 2.0 * sum(compared) * (width + 1),
        }
