"""Settings that must hold before JAX starts: eight virtual CPU devices, and flags that count as parsed."""

import jax
from absl import flags
from hypothesis import HealthCheck, settings

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Grain's worker processes read absl flags, which a test never parses.
flags.FLAGS.mark_as_parsed()

# The first example of a property test pays for compilation, so no deadline holds.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
