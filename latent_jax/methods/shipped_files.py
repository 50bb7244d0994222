"""Where the package keeps its artefacts; no JAX, for commands that start fast."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent / "shipped"
M1_FILE = "m1.msgpack"
INTEGER_M1 = str(FOLDER / "m1_integer.safetensors")
"""What files are compressed with: it gives the same tables on every device. Codes of corpora, and
all published numbers, are those of `M1_FILE`."""
INTEGER_M1_SHA256 = "2ba02119e9895bb6bdcea95e5806ee5af4f400a9064095e405e634f1fc0be5dc"
"""Of its file: compressed files name it."""
COMPILED_FOLDER = "equal_info_16_65k"


def read_integer_m1() -> bytes:
    """Return the content of `INTEGER_M1`.

    Raises:
        ValueError: the file cannot be read, or is another one than was shipped.
    """
    try:
        content = Path(INTEGER_M1).read_bytes()
    except OSError as error:
        raise ValueError(f"{INTEGER_M1} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != INTEGER_M1_SHA256:
        raise ValueError(
            f"{INTEGER_M1} is not the byte model that this version ships (another SHA-256): what "
            "it compresses would open nowhere else. Restore it, or give a model with --m1"
        )
    return content
