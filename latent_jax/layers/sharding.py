"""What a program may say of the devices that it runs on: how its rows are split.

Nothing here names a device. Under `jax.set_mesh`, which the training step is compiled under, the
mesh has an axis "data"; without a mesh all is on one device.
"""

import jax


def data_shards(n_rows: int) -> int:
    """Return among how many devices the rows of a batch are split; 1 where they do not divide."""
    n_devices = jax.sharding.get_abstract_mesh().shape.get("data", 1)
    return 1 if n_rows % n_devices else n_devices
