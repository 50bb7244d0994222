"""The registry of routers, each one file of this folder, and what a router sees.

    @register
    class Every(Router):
        kind = "every"

        def __call__(self, sight):
            return jnp.ones(sight.ids_BT.shape, jnp.float32)

A router gives each position the probability that a chunk begins there. It sees the position and the
one before it; nothing later, and no state of its own. So one function serves a whole row and, with
T = 1, a step of generation.
"""

from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax

from latent_jax.registration import file_of, import_all, shown

_KINDS: dict[str, type["Router"]] = {}


class Sight(NamedTuple):
    """What a router sees of each position.

    Attributes:
        x_BTD: the encoder's result.
        before_BTD: that of the position before; zeros at the first position of a row.
        ids_BT: int32, byte ids that the positions read; for chunks, the first one of each.
        before_BT: int32, those of the position before; the separator at the first one of a row.
        since_start_BT: int32, positions since the start of the document, 0 at its start.
    """

    x_BTD: jax.Array
    before_BTD: jax.Array
    ids_BT: jax.Array
    before_BT: jax.Array
    since_start_BT: jax.Array


class Router(nn.Module):
    """A router; subclasses state `kind` and have `__call__`.

    Attributes:
        width: D, of the vectors that it sees.
        rate: positions per chunk that are aimed at.

    Class attributes:
        kind: its name in methods.
        is_soft: whether its probabilities are of learned degrees, which a threshold can move, or 0
            and 1.
        reads_ids: whether it reads the ids of bytes, so that it serves the outermost stage only.
    """

    kind: ClassVar[str] = ""
    is_soft: ClassVar[bool] = True
    reads_ids: ClassVar[bool] = False

    width: int
    rate: float

    def __call__(self, sight: Sight) -> jax.Array:
        """Return the probability of a boundary, float32[B, T] in [0, 1].

        Where documents start, the frame sets it to 1.
        """
        raise NotImplementedError

    @staticmethod
    def forward_flops(width: int) -> float:
        """Return forward FLOPs per position."""
        del width
        return 0.0


def register(cls: type[Router]) -> type[Router]:
    """Register a router under its `kind`, and return it.

    Raises:
        TypeError: this is no router, or it lacks its kind or a docstring.
        ValueError: another one has this kind.
    """
    if not (isinstance(cls, type) and issubclass(cls, Router)):
        raise TypeError(
            "@register, without brackets, stands above a class that extends Router of "
            f"latent_jax/chunking/dynamic/registry.py, and not above {shown(cls)}"
        )
    missing = [] if cls.kind.isidentifier() else ["kind, a word"]
    missing += [] if "__call__" in vars(cls) else ["__call__"]
    missing += [] if (cls.__doc__ or "").strip() else ["a docstring"]
    if missing:
        raise TypeError(f"the router {cls.__name__} in {file_of(cls)} lacks {', '.join(missing)}")
    known = _KINDS.get(cls.kind, cls)
    places = [f"{each.__module__}.{each.__qualname__}" for each in (known, cls)]
    if places[0] != places[1]:
        raise ValueError(f"two routers are called {cls.kind}: {' and '.join(places)}")
    _KINDS[cls.kind] = cls
    return cls


def routers() -> dict[str, type[Router]]:
    """Return kind -> router for all of them, the paper's first; it imports their files.

    Raises:
        RegistrationError: a file of this folder cannot be imported; the message names it.
    """
    import_all("latent_jax.chunking.dynamic")
    return dict(sorted(_KINDS.items(), key=lambda item: (item[0] != "cosine", item[0])))
