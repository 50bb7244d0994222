"""Sweeps as data: `get_sweep` of each file returns a `latent_jax.methods.cells.Sweep`."""
