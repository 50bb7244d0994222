"""The config that all quantizers share, and `Quantized`, which they return.

A quantizer turns latent vectors into integer codes and back. `make_quantizer` builds all of them.
They share three methods: `__call__`, `lookup` and `log_assignment`.

Shape letters: N = B * K latents in one flat axis, and E, the width of one code (D where codes are
not projected).
"""

import dataclasses
import math
from typing import Annotated, NamedTuple

import jax

from latent_jax.quantizers.levels import levels_of
from latent_jax.ranges import (
    Count,
    Natural,
    Size,
    Weight,
    at_least,
    check_fields,
    more_than,
    one_of,
    within,
)

METRICS = ("cosine", "euclidean")
GRADIENTS = ("rotation", "straight_through")
CODEBOOK_UPDATES = ("ema", "learned")


_READERS = {
    "temperature": ("vq", "rvq", "fsq"),
    "n_codebooks": ("rvq",),
    "fsq_levels": ("fsq",),
}
"""Option -> the kinds that read it; all other options are of codebooks."""


def kinds_that_read(option: str) -> tuple[str, ...]:
    """Return the kinds of quantizers on which an option has an effect."""
    return _READERS.get(option, ("vq", "rvq"))


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
    codebook_size: Annotated[int, at_least(0, 2**24)] = 512  # V; 0 for "none"
    d_model: Size = 256  # D, width of the latents that come in and go out
    # of log_assignment, a squared distance; finer grids (FSQ) want 0.02
    temperature: Annotated[float, more_than(0, 1e9)] = 0.1

    # vq: the space in which codes are compared
    # E, the codes live in a learned projection this wide; 0 = no projection
    code_dim: Annotated[int, at_least(0, 2**16)] = 32
    # "cosine" (latents and codes on the unit sphere) or "euclidean"
    metric: Annotated[str, one_of(METRICS)] = "cosine"

    # vq: what reaches the encoder
    gradient: Annotated[str, one_of(GRADIENTS)] = "straight_through"  # or "rotation"
    commitment_weight: Weight = 1.0  # times the squared distance of a latent to its code

    # vq: what moves the codes
    # "ema" or "learned" (codebook loss through the optimizer)
    codebook_update: Annotated[str, one_of(CODEBOOK_UPDATES)] = "ema"
    # per training step, of usage and of the codes' means; 0 forgets the step before
    ema_decay: Annotated[float, within("[0, 1)")] = 0.9
    # Lloyd iterations on the first training batch; 0 = random codes
    kmeans_iterations: Natural = 10
    kmeans_latents: Count = 65536  # at most so many latents of that batch enter k-means
    # vq: dead codes; the period grows with the run and the threshold falls, both by the same factor
    # dead below this share of the mean usage; 0 = never restart
    restart_threshold: Annotated[float, within("[0, 1)")] = 0.1
    # training steps between restarts of dead codes
    restart_period: Annotated[int, at_least(1, 10**8)] = 10

    # rvq, besides all words of vq
    # stages; their sizes are as equal as a product of V allows
    n_codebooks: Annotated[int, at_least(2, 64)] = 2
    # fsq
    fsq_levels: tuple[
        Annotated[int, at_least(2)], ...
    ] = ()  # one count of levels per dimension; () = chosen for V

    def __post_init__(self):
        """Check every word whose wrong value would only show much later."""
        check_fields(self, "quantizer.")
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
