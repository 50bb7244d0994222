"""Networks in integers, which give the same bits on every device: numbers, files, operations."""

from latent_jax.kept_programs import keep_kernels

keep_kernels()
