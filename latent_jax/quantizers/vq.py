"""Vector quantization with a codebook that stays in use.

van den Oord et al. 2017 (arXiv 1711.00937), with methods of later work that keep codes in use:
codes are compared on the unit sphere in a low-dimensional projection (Yu et al. 2022,
"Vector-quantized Image Modeling with Improved VQGAN", arXiv 2110.04627, section 3.2), the rotation
trick (Fifty et al. 2024, arXiv 2410.06424), k-means initialisation and restart of dead codes
(`codebook`).

The state is in the Flax collection "codebook". It changes only in a training step that declares the
collection mutable; such a step draws from the rng stream "quantizer".
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.quantizers import codebook, gradients, nearest, statistics
from latent_jax.quantizers.base import Quantized, QuantizerConfig
from latent_jax.quantizers.codebook import CodebookState
from latent_jax.sharding_constraints import rows


class VQ(nn.Module):
    """A quantizer to the nearest of V learned codes; see `QuantizerConfig` for the options.

    With codebook_update = "learned" a code is the sum of two vectors: an anchor in the state, which
    k-means and restarts set, and an offset in the parameters, which the optimizer moves.
    """

    decays = {"offsets": False}

    config: QuantizerConfig

    def setup(self):
        """Declare the projections, the state and, for a learned codebook, its offsets."""
        c = self.config
        if c.code_dim:
            self.project_in = nn.Dense(c.code_dim)
            self.project_out = nn.Dense(c.d_model)
        shape = (c.codebook_size, c.code_width)
        self.codes = self.variable("codebook", "codes", self._random_codes, shape)
        self.usage = self.variable("codebook", "usage", jnp.zeros, (c.codebook_size,))
        self.steps = self.variable("codebook", "steps", jnp.zeros, (), jnp.int32)
        if c.codebook_update == "learned":
            self.offsets = self.param("offsets", nn.initializers.zeros, shape)

    def __call__(self, z_BKD: jax.Array, mask_BK: jax.Array, *, train: bool = False) -> Quantized:
        """Quantize latents; in training also update the codebook.

        Args:
            z_BKD: latents of any float dtype; distances, losses and state are float32.
            mask_BK: bool, True where a latent is real.
            train: whether the codebook may learn from this batch.

        Returns:
            `Quantized`, with z_q from the codes before this batch updates them.

        Raises:
            ValueError: the latents are not `d_model` wide.
        """
        c = self.config
        z_BKE = self._encode(z_BKD)
        z_NE = rows(z_BKE.reshape(-1, z_BKE.shape[-1]))
        mask_N = rows(mask_BK.reshape(-1))
        constant_NE = jax.lax.stop_gradient(z_NE)

        learns = train and self.is_mutable_collection("codebook") and not self.is_initializing()
        if learns:
            first_key, restart_key = jax.random.split(self.make_rng("quantizer"))
            self._write(self._first_codes(first_key, constant_NE, mask_N))

        codes_VE = self._codes()
        code_N = nearest.nearest_codes(constant_NE, jax.lax.stop_gradient(codes_VE))
        q_NE = codes_VE[code_N]
        weights_N = mask_N.astype(jnp.float32)
        n_latents = jnp.sum(weights_N)
        errors_N = jnp.sum(jnp.square(constant_NE - q_NE), axis=-1) * weights_N
        error_sum = jax.lax.stop_gradient(jnp.sum(errors_N))

        committed_N = jnp.sum(jnp.square(z_NE - jax.lax.stop_gradient(q_NE)), axis=-1) * weights_N
        loss_sum = c.commitment_weight * jnp.sum(committed_N)
        if c.codebook_update == "learned":
            loss_sum += jnp.sum(errors_N)

        n_restarted = jnp.zeros(())
        if learns:
            n_restarted = self._learn(
                restart_key, constant_NE, mask_N, code_N, jax.lax.stop_gradient(errors_N)
            )
        z_q_NE = gradients.GRADIENTS[c.gradient](z_NE, q_NE)
        return Quantized(
            self._decode(z_q_NE.reshape(z_BKE.shape)).astype(z_BKD.dtype),
            code_N.reshape(mask_BK.shape),
            loss_sum / jnp.maximum(n_latents, 1.0),
            {
                "code_counts": statistics.count_codes(code_N, mask_N, c.codebook_size),
                "quantization_error_sum": error_sum,
                "n_latents": n_latents,
                "n_restarted": n_restarted,
            },
        )

    def lookup(self, codes_BK: jax.Array) -> jax.Array:
        """Return the float32 vectors [B, K, D] that `__call__` gives for these codes."""
        return self._decode(self._codes()[codes_BK])

    def log_assignment(self, z_BKD: jax.Array) -> jax.Array:
        """Return log-probabilities [B, K, V]: log_softmax of -squared distance / temperature.

        They are differentiable in the latents; the codes are held constant.
        """
        z_BKE = self._encode(z_BKD)
        codes_VE = jax.lax.stop_gradient(self._codes())
        distances = nearest.squared_distances(z_BKE.reshape(-1, z_BKE.shape[-1]), codes_VE)
        log_p = jax.nn.log_softmax(-distances / self.config.temperature)
        return log_p.reshape(*z_BKE.shape[:-1], -1)

    def _encode(self, z_BKD):
        if z_BKD.shape[-1] != self.config.d_model:
            raise ValueError(
                f"latents are {z_BKD.shape[-1]} wide but the quantizer has d_model = "
                f"{self.config.d_model}; give both the same width"
            )
        z = z_BKD.astype(jnp.float32)
        if self.config.code_dim:
            z = self.project_in(z)
        return codebook.on_metric(z, self.config.metric)

    def _decode(self, q_BKE):
        return self.project_out(q_BKE) if self.config.code_dim else q_BKE

    def _random_codes(self, shape):
        key = self.make_rng("params")
        if self.config.metric == "cosine":
            return codebook.on_metric(jax.random.normal(key, shape), "cosine")
        # VQ-VAE's initial codes; k-means, if it is on, replaces them at the first training step.
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) / shape[0]

    def _codes(self):
        codes_VE = self.codes.value
        if self.config.codebook_update == "learned":
            codes_VE = codebook.on_metric(codes_VE + self.offsets, self.config.metric)
        return codes_VE

    def _write(self, state: CodebookState):
        """Store a state, so that `_codes` returns its codes."""
        codes_VE = state.codes_VE
        if self.config.codebook_update == "learned":
            # Unchanged codes keep their anchors to the bit; rounding would slowly move them.
            changed_V1 = jnp.any(codes_VE != self._codes(), axis=-1, keepdims=True)
            anchors_VE = codes_VE - jax.lax.stop_gradient(self.offsets)
            codes_VE = jnp.where(changed_V1, anchors_VE, self.codes.value)
        self.codes.value, self.usage.value, self.steps.value = codes_VE, state.usage_V, state.steps

    def _read(self):
        codes_VE = jax.lax.stop_gradient(self._codes())
        return CodebookState(codes_VE, self.usage.value, self.steps.value)

    def _first_codes(self, key, z_NE, mask_N):
        """Return the state; at the first training step, the state initialised from the batch."""
        c = self.config

        def start(state):
            if not c.kmeans_iterations:
                usage_V = jnp.full_like(state.usage_V, jnp.sum(mask_N) / c.codebook_size)
                return state._replace(usage_V=usage_V)
            sample_key, kmeans_key = jax.random.split(key)
            sample, sample_mask = codebook.subsample(sample_key, z_NE, mask_N, c.kmeans_latents)
            codes_VE, counts_V = codebook.kmeans(
                kmeans_key, sample, sample_mask, c.codebook_size, c.kmeans_iterations, c.metric
            )
            # Usage counts latents per step. If only a sample was clustered, scale its counts up.
            scale = jnp.sum(mask_N) / jnp.maximum(jnp.sum(sample_mask), 1)
            return state._replace(codes_VE=codes_VE, usage_V=counts_V * scale)

        # A batch without a real latent cannot initialise a codebook; the next batch then does.
        ready = (self.steps.value == 0) & jnp.any(mask_N)
        return jax.lax.cond(ready, start, lambda state: state, self._read())

    def _learn(self, key, z_NE, mask_N, code_N, errors_N):
        """Update the codebook, and return the number of dead codes that were restarted."""
        c = self.config
        moves = c.codebook_update == "ema"
        state = codebook.moving_average(
            self._read(), z_NE, mask_N, code_N, c.ema_decay, c.metric, moves
        )
        n_restarted = jnp.zeros(())
        if c.restart_threshold:
            interval = codebook.restart_interval(state.steps, c.restart_period)
            # The threshold falls as the interval grows, so that rare but useful codes survive.
            threshold = c.restart_threshold * c.restart_period / interval
            state, n_restarted = jax.lax.cond(
                state.steps % interval == 0,
                lambda: codebook.restart_dead(key, state, z_NE, errors_N, threshold),
                lambda: (state, jnp.zeros(())),
            )
        self._write(state)
        return n_restarted
