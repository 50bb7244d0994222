"""A bucket in memory behind `gs://`, for tests of what needs no client of Google's.

See tests/fake_gcs.py for the whole way, clients and all.
"""

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class Bucket(MemoryFileSystem):
    """Objects that are replaced whole; like a bucket it has no append and no rename."""

    protocol = ("gcs", "gs")
    store = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("gs://").removeprefix("gcs://"))

    def _open(self, path, mode="rb", **words):
        if "a" in mode or "+" in mode:
            raise NotImplementedError(f"a bucket does not append: {path}")
        return super()._open(path, mode=mode, **words)

    def rename(self, *paths, **words):
        raise NotImplementedError(f"a bucket renames nothing: {paths}")

    mv = rename


def use_bucket(monkeypatch):
    """Let gs:// mean an empty `Bucket`, whether or not gcsfs is installed; return its objects."""
    fsspec.register_implementation("gcs", Bucket, clobber=True)
    from etils.epath import backend

    backend.fsspec_backend._get_filesystem.cache_clear()
    monkeypatch.setattr("latent_jax.paths.STORES", {"gs": ("etils", "fsspec")})
    monkeypatch.setenv("EPATH_USE_TF", "no")
    Bucket.store.clear()
    return Bucket.store
