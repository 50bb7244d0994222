"""The registry of routers, poolings and ways back, each one file of this folder.

@register
class Every(Router):
    "A boundary at every position."
    kind = "every"

    def __call__(self, sight):
        return jnp.ones(sight.ids_BT.shape, jnp.float32)
"""

from latent_jax.chunking.dynamic.parts import ROLES, Part, Pooling, Router, WayBack
from latent_jax.registration import file_of, import_all, shown

_KINDS: dict[str, dict[str, type[Part]]] = {role: {} for role in ROLES}

_FIRST = ("cosine", "pick", "smooth")
"""Those of H-Net, which come first."""

_NEEDED = {
    "router": ("__call__",),
    "pooling": ("__call__", "step"),
    "way back": ("__call__", "step"),
}


def register(cls: type[Part]) -> type[Part]:
    """Register a router, a pooling or a way back under its `kind`, and return it.

    Raises:
        TypeError: it is none of them, or it lacks its kind, a method or a docstring.
        ValueError: another one has this kind.
    """
    if not (isinstance(cls, type) and issubclass(cls, tuple(ROLES.values()))):
        raise TypeError(
            "@register, without brackets, stands above a class that extends Router, Pooling or "
            f"WayBack of latent_jax/chunking/dynamic/parts.py, and not above {shown(cls)}"
        )
    missing = [] if cls.kind.isidentifier() else ["kind, a word"]
    needed = (*_NEEDED[cls.role], *["draw"] * getattr(cls, "draws", False))
    base = ROLES[cls.role]
    missing += [name for name in needed if getattr(cls, name) is getattr(base, name)]
    missing += [] if (cls.__doc__ or "").strip() else ["a docstring"]
    if missing:
        raise TypeError(
            f"the {cls.role} {cls.__name__} in {file_of(cls)} lacks {', '.join(missing)}"
        )
    kinds = _KINDS[cls.role]
    known = kinds.get(cls.kind, cls)
    places = [f"{each.__module__}.{each.__qualname__}" for each in (known, cls)]
    if places[0] != places[1]:
        raise ValueError(f"two {cls.role}s are called {cls.kind}: {' and '.join(places)}")
    kinds[cls.kind] = cls
    return cls


def routers() -> dict[str, type[Router]]:
    """Return kind -> router for all of them, that of H-Net first; it imports their files.

    Raises:
        RegistrationError: a file of this folder cannot be imported; the message names it.
    """
    return _all("router")


def poolings() -> dict[str, type[Pooling]]:
    """Return kind -> pooling; see `routers`."""
    return _all("pooling")


def ways_back() -> dict[str, type[WayBack]]:
    """Return kind -> way back; see `routers`."""
    return _all("way back")


def _all(role):
    import_all("latent_jax.chunking.dynamic")
    return dict(sorted(_KINDS[role].items(), key=lambda item: (item[0] not in _FIRST, item[0])))
