"""The codebook of a VQ: moving averages, k-means initialisation, restart of dead codes.

Pure functions over `CodebookState`. All shapes are static and every sum is a plain reduction over
the batch, so the same code is exact on one device and on a sharded batch.

Moving averages follow van den Oord et al. 2017 (arXiv 1711.00937, appendix A.1) in incremental
form. With n latents of mean m on a code c of usage N,

    N' = g N + (1 - g) n            c' = c + (1 - g) n (m - c) / N'

which is the ratio of the two averages of the paper, without keeping the second one: a code that
nobody chose stays in place to the bit, so no smoothing of small counts is needed.

A code is dead when its usage falls below a share of the mean usage. It is replaced by a latent of
the batch, drawn with probability proportional to its squared distance to its own code (the D^2
sampling of k-means++, Arthur and Vassilvitskii 2007): uniform draws pick what is frequent, which in
text is what already has codes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.quantizers import nearest, statistics

_TINY = 1e-12


class CodebookState(NamedTuple):
    """What a codebook carries from step to step.

    Attributes:
        codes_VE: float32 codes.
        usage_V: float32 moving average of the latents per training step on each code.
        steps: int32, training steps with at least one real latent.
    """

    codes_VE: jax.Array
    usage_V: jax.Array
    steps: jax.Array


def on_metric(x: jax.Array, metric: str) -> jax.Array:
    """Put vectors where the metric compares them: on the unit sphere for "cosine"."""
    if metric == "euclidean":
        return x
    # The root of a sum with a floor: a norm of exactly 0 would have no gradient.
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + _TINY)


def draw_latents(key: jax.Array, weights_N: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Draw latents without replacement, with probabilities proportional to `weights_N`.

    Gumbel top-k (Kool et al. 2019, arXiv 1903.06059): static shapes, and exact on sharded weights.

    Returns:
        int32[size] indices and the number of them that are usable, which come first. Latents of
        weight 0 (padding, or exactly on their code) are never usable; where there are fewer latents
        than `size`, the indices start over after the last.
    """
    scores_N = jnp.log(weights_N) + jax.random.gumbel(key, weights_N.shape)
    _, index = jax.lax.top_k(scores_N, min(size, weights_N.shape[0]))
    n_usable = jnp.sum(weights_N > 0)
    # Wrapping by the usable ones keeps padding out even when there is little else.
    return index[jnp.arange(size) % jnp.clip(n_usable, 1, index.shape[0])], n_usable


def replace_codes(
    key: jax.Array, codes_VE: jax.Array, dead_V: jax.Array, z_NE: jax.Array, weights_N: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Replace dead codes by latents drawn with the given weights, each latent at most once.

    Returns:
        The codes and bool[V], True where a code was replaced. Dead codes beyond the number of
        usable latents stay as they are.
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
    """Codes by Lloyd's iterations, seeded in rounds by D^2 sampling.

    The rounds are those of k-means|| (Bahmani et al. 2012, arXiv 1203.6402): one draw of all seeds
    would put most of them into the few large clusters that text has, and Lloyd's iterations cannot
    take them out again.

    With fewer latents than codes the surplus codes repeat latents and end with usage 0: the restart
    of dead codes fills them from the batches that follow.

    Args:
        key: Typed random key.
        z_NE: float32 latents, already `on_metric`.
        mask_N: bool, False where a latent is padding.
        codebook_size: V.
        iterations: Number of Lloyd iterations.
        metric: "cosine" (spherical k-means) or "euclidean".

    Returns:
        float32[V, E] codes, and float32[V] the latents that each of them has.
    """
    mask_N = mask_N.astype(jnp.float32)
    seed_key, key = jax.random.split(key)
    # A quarter of the codes starts at random latents and the rest repeats them, which leaves those
    # empty; the first iterations place a quarter of the codes each where the error is then largest.
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
    """At most `size` latents, real ones first, with their mask."""
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
    """Move usage, and where asked the codes, towards what the batch says of them."""
    codebook_size = state.codes_VE.shape[0]
    counts_V = statistics.count_codes(code_N, mask_N, codebook_size)
    usage_V = decay * state.usage_V + (1.0 - decay) * counts_V
    codes_VE = state.codes_VE
    if move_codes:
        # The sum of differences, not the difference of sums: no cancellation for tight clusters.
        offsets_NE = (z_NE - codes_VE[code_N]) * mask_N[:, None].astype(jnp.float32)
        offsets_VE = statistics.sum_by_code(offsets_NE, code_N, codebook_size)
        moved_VE = codes_VE + (1.0 - decay) * offsets_VE / jnp.maximum(usage_V, _TINY)[:, None]
        codes_VE = jnp.where((counts_V > 0)[:, None], on_metric(moved_VE, metric), codes_VE)
    return CodebookState(codes_VE, usage_V, state.steps + jnp.any(mask_N))


def dead(usage_V: jax.Array, threshold: float) -> jax.Array:
    """Return True for codes whose usage lies below `threshold` times the mean usage."""
    return usage_V < threshold * jnp.mean(usage_V)


def restart_interval(steps: jax.Array, period: int) -> jax.Array:
    """Training steps between two restarts of dead codes, int32, after `steps` of them.

    It begins at `period` and doubles when the steps done do, from 20 periods on, and so stays at 5
    to 10 % of them: late in a run a restarted code has time to be learned before anything is
    measured.

    Args:
        steps: int32, training steps done.
        period: The first interval.
    """
    doublings = 31 - jax.lax.clz(jnp.maximum(steps // (10 * period), 1))
    return jax.lax.shift_left(jnp.int32(period), doublings)


def restart_dead(
    key: jax.Array, state: CodebookState, z_NE: jax.Array, errors_N: jax.Array, threshold: float
) -> tuple[CodebookState, jax.Array]:
    """Replace dead codes by latents, drawn by `errors_N`, their squared distance to their code.

    A new code starts with the mean usage: it is safe until it has had time to be chosen.

    Args:
        key: Typed random key.
        state: The codebook after its moving average.
        z_NE: float32 latents.
        errors_N: float32 squared distances, 0 where a latent is padding.
        threshold: See `dead`.

    Returns:
        The new state and the float32 number of replaced codes.
    """
    codes_VE, replaced_V = replace_codes(
        key, state.codes_VE, dead(state.usage_V, threshold), z_NE, errors_N
    )
    usage_V = jnp.where(replaced_V, jnp.mean(state.usage_V), state.usage_V)
    return CodebookState(codes_VE, usage_V, state.steps), jnp.sum(replaced_V.astype(jnp.float32))
