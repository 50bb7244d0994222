"""The codebook of a VQ: moving averages, k-means initialisation, restart of dead codes.

Pure functions over `CodebookState`. All shapes are static and every sum is a plain reduction over
the batch, so the same code is exact on one device and on a sharded batch.

Moving averages follow van den Oord et al. 2017 (arXiv 1711.00937, appendix A.1) in incremental
form. With n latents of mean m on a code c of usage N,

    N' = g N + (1 - g) n            c' = c + (1 - g) n (m - c) / N'

which is the ratio of the paper's two averages, but the second one need not be stored. A code that
no latent chose does not change by a single bit, so small counts need no smoothing.

A code is dead when its usage falls below a share of the mean usage. A latent of the batch replaces
it. Latents are drawn with probability proportional to the squared distance to their own code (the
D^2 sampling of k-means++, Arthur and Vassilvitskii 2007). Uniform draws would pick frequent
latents, and in text these already have codes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.quantizers import nearest, statistics

_TINY = 1e-12


class CodebookState(NamedTuple):
    """The state of a codebook between steps.

    Attributes:
        codes_VE: float32 codes.
        usage_V: float32, moving average of the number of latents per training step on each code.
        steps: int32, training steps with at least one real latent.
    """

    codes_VE: jax.Array
    usage_V: jax.Array
    steps: jax.Array


def on_metric(x: jax.Array, metric: str) -> jax.Array:
    """Return vectors [..., E] as the metric compares them: on the unit sphere for "cosine"."""
    if metric == "euclidean":
        return x
    # _TINY under the root, because the gradient of a norm of exactly 0 is not defined.
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + _TINY)


def draw_latents(key: jax.Array, weights_N: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Draw latents without replacement, with probabilities proportional to `weights_N`.

    Gumbel top-k (Kool et al. 2019, arXiv 1903.06059): static shapes, and exact on sharded weights.

    Returns:
        int32[size], indices of latents, and the number of latents with a weight above 0. Only these
        are drawn (weight 0 means padding, or a latent that equals its code). If there are fewer
        than `size`, the indices repeat.
    """
    scores_N = jnp.log(weights_N) + jax.random.gumbel(key, weights_N.shape)
    _, index = jax.lax.top_k(scores_N, min(size, weights_N.shape[0]))
    n_usable = jnp.sum(weights_N > 0)
    # The modulus is the number of usable latents, so that padding is not drawn.
    return index[jnp.arange(size) % jnp.clip(n_usable, 1, index.shape[0])], n_usable


def replace_codes(
    key: jax.Array, codes_VE: jax.Array, dead_V: jax.Array, z_NE: jax.Array, weights_N: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Replace dead codes by latents drawn with the given weights, each latent at most once.

    Returns:
        The codes, and bool[V], True where a code was replaced. If fewer latents than dead codes
        have a weight above 0, the last dead codes stay as they are.
    """
    codebook_size = codes_VE.shape[0]
    drawn_V, n_usable = draw_latents(key, weights_N, codebook_size)
    rank_V = jnp.cumsum(dead_V) - 1  # the r-th dead code takes the r-th drawn latent
    replaced_V = dead_V & (rank_V < jnp.minimum(n_usable, z_NE.shape[0]))
    candidates_VE = z_NE[drawn_V[jnp.clip(rank_V, 0)]]
    return jnp.where(replaced_V[:, None], candidates_VE, codes_VE), replaced_V


def kmeans(
    key: jax.Array,
    z_NE: jax.Array,
    mask_N: jax.Array,
    codebook_size: int,
    iterations: int,
    metric: str,
) -> tuple[jax.Array, jax.Array]:
    """Return codes from Lloyd's iterations, seeded in rounds by D^2 sampling.

    The rounds are those of k-means|| (Bahmani et al. 2012, arXiv 1203.6402). A single draw of all
    seeds would put most of them into the few large clusters of text, and Lloyd's iterations cannot
    move them out again.

    If there are fewer latents than codes, the surplus codes repeat latents and end with usage 0.
    The restart of dead codes then fills them from later batches.

    Args:
        key: a typed random key.
        z_NE: float32 latents, already `on_metric`.
        mask_N: bool, False where a latent is padding.
        codebook_size: V.
        iterations: number of Lloyd iterations.
        metric: "cosine" (spherical k-means) or "euclidean".

    Returns:
        The codes, float32[V, E], and the number of latents of each code, float32[V].
    """
    mask_N = mask_N.astype(jnp.float32)
    seed_key, key = jax.random.split(key)
    # A quarter of the codes starts at random latents. The others repeat these, so their clusters
    # are empty. Each of the first iterations moves up to a quarter of the codes to latents of large
    # error.
    quarter = -(-codebook_size // 4)
    seeds_V = draw_latents(seed_key, mask_N, quarter)[0][jnp.arange(codebook_size) % quarter]

    def assign(codes_VE):
        code_N = nearest.nearest_codes(z_NE, codes_VE)
        return code_N, statistics.count_codes(code_N, mask_N, codebook_size)

    def lloyd(i, codes_VE):
        code_N, counts_V = assign(codes_VE)
        errors_N = jnp.sum(jnp.square(z_NE - codes_VE[code_N]), axis=-1) * mask_N
        sums_VE = statistics.sum_by_code(z_NE * mask_N[:, None], code_N, codebook_size)
        means_VE = on_metric(sums_VE / jnp.maximum(counts_V, 1.0)[:, None], metric)
        codes_VE = jnp.where((counts_V > 0)[:, None], means_VE, codes_VE)
        round_key = jax.random.fold_in(key, i)
        empty_V = counts_V == 0
        empty_V &= jnp.cumsum(empty_V) <= quarter
        return replace_codes(round_key, codes_VE, empty_V, z_NE, errors_N)[0]

    codes_VE = jax.lax.fori_loop(0, iterations, lloyd, z_NE[seeds_V])
    return codes_VE, assign(codes_VE)[1]


def subsample(
    key: jax.Array, z_NE: jax.Array, mask_N: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """Return at most `size` latents, real ones first, and their mask."""
    if z_NE.shape[0] <= size:
        return z_NE, mask_N
    index, n_usable = draw_latents(key, mask_N.astype(jnp.float32), size)
    return z_NE[index], jnp.arange(size) < n_usable


def moving_average(
    state: CodebookState,
    z_NE: jax.Array,
    mask_N: jax.Array,
    code_N: jax.Array,
    decay: float,
    metric: str,
    move_codes: bool,
) -> CodebookState:
    """Return the state after one step of the moving averages of usage and, if asked, of codes.

    Args:
        state: the state before the batch.
        z_NE: float32 latents, already `on_metric`.
        mask_N: bool, False where a latent is padding.
        code_N: int32, the code of each latent.
        decay: g of the module docstring.
        metric: "cosine" or "euclidean".
        move_codes: whether the codes move, too.
    """
    codebook_size = state.codes_VE.shape[0]
    counts_V = statistics.count_codes(code_N, mask_N, codebook_size)
    usage_V = decay * state.usage_V + (1.0 - decay) * counts_V
    codes_VE = state.codes_VE
    if move_codes:
        # A sum of differences loses no precision for tight clusters; a difference of sums would.
        offsets_NE = (z_NE - codes_VE[code_N]) * mask_N[:, None].astype(jnp.float32)
        offsets_VE = statistics.sum_by_code(offsets_NE, code_N, codebook_size)
        moved_VE = codes_VE + (1.0 - decay) * offsets_VE / jnp.maximum(usage_V, _TINY)[:, None]
        codes_VE = jnp.where((counts_V > 0)[:, None], on_metric(moved_VE, metric), codes_VE)
    return CodebookState(codes_VE, usage_V, state.steps + jnp.any(mask_N))


def dead(usage_V: jax.Array, threshold: float) -> jax.Array:
    """Return bool[V], True for codes whose usage is below `threshold` times the mean usage."""
    return usage_V < threshold * jnp.mean(usage_V)


def restart_interval(steps: jax.Array, period: int) -> jax.Array:
    """Return the current number of training steps between two restarts of dead codes, int32.

    The interval begins at `period`. From 20 periods on it doubles whenever `steps` has doubled, so
    it is 5 to 10 % of `steps`. Late in a run, a restarted code then has time to be learned before
    the model is evaluated.

    Args:
        steps: int32, training steps done.
        period: the first interval, in steps.
    """
    doublings = 31 - jax.lax.clz(jnp.maximum(steps // (10 * period), 1))
    return jax.lax.shift_left(jnp.int32(period), doublings)


def restart_dead(
    key: jax.Array, state: CodebookState, z_NE: jax.Array, errors_N: jax.Array, threshold: float
) -> tuple[CodebookState, jax.Array]:
    """Replace dead codes by latents, drawn with probability proportional to `errors_N`.

    A new code starts with the mean usage, so it is not dead before latents have had time to choose
    it.

    Args:
        key: a typed random key.
        state: the codebook after its moving average.
        z_NE: float32 latents.
        errors_N: float32, the squared distance of each latent to its code; 0 for padding.
        threshold: see `dead`.

    Returns:
        The new state, and the number of replaced codes, float32.
    """
    codes_VE, replaced_V = replace_codes(
        key, state.codes_VE, dead(state.usage_V, threshold), z_NE, errors_N
    )
    usage_V = jnp.where(replaced_V, jnp.mean(state.usage_V), state.usage_V)
    return CodebookState(codes_VE, usage_V, state.steps), jnp.sum(replaced_V.astype(jnp.float32))
