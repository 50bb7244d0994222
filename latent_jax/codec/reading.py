"""Numbers and bytes of compressed files, which may come from anybody.

Their sizes are not believed: bytes are read in pieces, and no memory is taken before bytes are
there.
"""

import struct
from typing import BinaryIO

NUMBER = struct.Struct("<I")
PIECE_BYTES = 1 << 20


class ContainerError(ValueError):
    """A compressed file is not of this format, cut short or damaged."""


def read_bytes(source: BinaryIO, n_bytes: int, name: str) -> bytes:
    """Return the next bytes of a file.

    Args:
        source: of the file.
        n_bytes: how many.
        name: of the file, for messages.

    Raises:
        ContainerError: the file ends before.
    """
    # In pieces, because a read of 4 GB allocates 4 GB, whether or not the file has them.
    pieces, missing = [], n_bytes
    while missing:
        piece = source.read(min(missing, PIECE_BYTES))
        if not piece:
            raise ContainerError(f"{name} is cut short: at least {missing} bytes are missing")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def read_number(source: BinaryIO, name: str) -> int:
    """Return the next number of a file, 0 to 2^32 - 1; see `read_bytes`."""
    return NUMBER.unpack(read_bytes(source, NUMBER.size, name))[0]
