"""Residual vector quantization: each stage quantizes the residual of the stages before it.

Zeghidour et al. 2021, "SoundStream" (arXiv 2107.03312), section III-C; Lee et al. 2022,
"Autoregressive Image Generation using Residual Quantization" (arXiv 2203.01941), section 3.1. With
stages of s_1, ..., s_n codes a latent has one of V = s_1 ... s_n sums of codes, and the search
costs s_1 + ... + s_n comparisons.

The code of a latent is one number in [0, V), whose mixed-radix digits are the codes of the stages.
The first stage is the most significant digit, so codes that share their first stage are
consecutive. So the language model predicts a latent in one step, and the rate is log2 V bits per
latent. The papers predict one stage after the other, which needs no table of V rows and so allows
stages of 1,024 codes; this file cannot.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.quantizers import codebook, gradients, nearest, statistics
from latent_jax.quantizers.base import Quantized, QuantizerConfig
from latent_jax.quantizers.vq import VQ


class RVQ(nn.Module):
    """A quantizer to sums of codes, one code per stage; see `QuantizerConfig` for the options.

    Each stage is a `VQ` without a projection that compares residuals by euclidean distance. It has
    its own state, which is updated and restarted like that of a VQ. Under metric = "cosine" the
    latents, not the residuals, lie on the unit sphere.
    """

    config: QuantizerConfig

    def setup(self):
        """Declare the projections and the stages."""
        c = self.config
        if c.code_dim:
            self.project_in = nn.Dense(c.code_dim)
            self.project_out = nn.Dense(c.d_model)
        stage = dataclasses.replace(
            c, kind="vq", d_model=c.code_width, code_dim=0, metric="euclidean"
        )
        self.stages = [VQ(dataclasses.replace(stage, codebook_size=size)) for size in c.stage_sizes]

    def __call__(self, z_BKD: jax.Array, mask_BK: jax.Array, *, train: bool = False) -> Quantized:
        """Quantize latents; in training also update the codebooks.

        Args:
            z_BKD: latents of any float dtype; distances, losses and state are float32.
            mask_BK: bool, True where a latent is real.
            train: whether the codebooks may learn from this batch.

        Returns:
            `Quantized`; "quantization_error_sum" is the error after the last stage, and
            "n_restarted" and `aux_loss` are sums over stages.

        Raises:
            ValueError: the latents are not `d_model` wide.
        """
        c = self.config
        z_BKE = self._encode(z_BKD)
        residual_BKE, q_BKE = z_BKE, jnp.zeros_like(z_BKE)
        codes_BK = jnp.zeros(mask_BK.shape, jnp.int32)
        aux_loss = n_restarted = jnp.zeros(())
        for stage, size in zip(self.stages, c.stage_sizes, strict=True):
            quantized = stage(residual_BKE, mask_BK, train=train)
            # Stopped here, because the gradient passes the sum of the stages once, below.
            chosen_BKE = jax.lax.stop_gradient(quantized.z_q_BKD)
            residual_BKE, q_BKE = residual_BKE - chosen_BKE, q_BKE + chosen_BKE
            codes_BK = codes_BK * size + quantized.codes_BK
            aux_loss = aux_loss + quantized.aux_loss
            n_restarted = n_restarted + quantized.stats["n_restarted"]
        z_q_BKE = gradients.GRADIENTS[c.gradient](z_BKE, q_BKE)
        return Quantized(
            self._decode(z_q_BKE).astype(z_BKD.dtype),
            codes_BK,
            aux_loss,
            {
                **quantized.stats,
                "code_counts": statistics.count_codes(
                    codes_BK.reshape(-1), mask_BK.reshape(-1), c.codebook_size
                ),
                "n_restarted": n_restarted,
            },
        )

    def lookup(self, codes_BK: jax.Array) -> jax.Array:
        """Return the float32 vectors [B, K, D] that `__call__` gives for these codes."""
        q_BKE = 0.0
        digits = digits_of(codes_BK, self.config.stage_sizes)
        for stage, digits_BK in zip(self.stages, digits, strict=True):
            q_BKE = q_BKE + stage.lookup(digits_BK)
        return self._decode(q_BKE)

    def log_assignment(self, z_BKD: jax.Array) -> jax.Array:
        """Return log-probabilities [B, K, V]: log_softmax of -squared distance / temperature.

        The distances are to sums of codes. All V sums are compared, so the likeliest sum may be
        nearer than the sum that `__call__` chooses stage by stage. The result is differentiable in
        the latents; the codes are held constant.
        """
        z_BKE = self._encode(z_BKD)
        codes_BV = jnp.arange(self.config.codebook_size)[None]
        digits = digits_of(codes_BV, self.config.stage_sizes)
        parts = [stage.lookup(part)[0] for stage, part in zip(self.stages, digits, strict=True)]
        sums_VE = jax.lax.stop_gradient(sum(parts))
        distances_NV = nearest.squared_distances(z_BKE.reshape(-1, z_BKE.shape[-1]), sums_VE)
        log_p_NV = jax.nn.log_softmax(-distances_NV / self.config.temperature)
        return log_p_NV.reshape(*z_BKE.shape[:-1], -1)

    def _encode(self, z_BKD: jax.Array) -> jax.Array:
        if z_BKD.shape[-1] != self.config.d_model:
            raise ValueError(
                f"latents are {z_BKD.shape[-1]} wide but the quantizer has d_model = "
                f"{self.config.d_model}; give both the same width"
            )
        z = z_BKD.astype(jnp.float32)
        if self.config.code_dim:
            z = self.project_in(z)
        return codebook.on_metric(z, self.config.metric)

    def _decode(self, q_BKE: jax.Array) -> jax.Array:
        return self.project_out(q_BKE) if self.config.code_dim else q_BKE


def digits_of(codes: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
    """Return the code of each stage, first stage first, each in the shape of `codes`."""
    digits = []
    for size in reversed(sizes):
        digits.append(codes % size)
        codes = codes // size
    return digits[::-1]
