"""Where the package keeps its artefacts; no JAX, for commands that start fast."""

from pathlib import Path

FOLDER = Path(__file__).parent / "shipped"
M1_FILE = "m1.msgpack"
INTEGER_M1 = str(FOLDER / "m1_integer.safetensors")
"""What files are compressed with: it gives the same tables on every device. Codes of corpora, and
all published numbers, are those of `M1_FILE`."""
COMPILED_FOLDER = "equal_info_16_65k"
