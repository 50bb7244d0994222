"""The trained files in the package: an M1, and a code that was compiled from it.

m1.msgpack               the float byte model; `launch/prepare.py m1` writes it from a run folder
m1.json                  its training text, length of training, bits per byte, and SHA-256
m1_integer.safetensors   the same network in integers, trained on from m1.msgpack; and its .json.
                         Its SHA-256 stands in `shipped_files` too, for who reads no record
equal_info_16_65k/       EqualInfoAC[b=16,v=65k] as a table; `launch/prepare.py compile`
"""

import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latent_jax.exact.model_file import is_integer_file
from latent_jax.json_files import Kind, read_json
from latent_jax.methods.shipped_files import COMPILED_FOLDER, FOLDER, M1_FILE
from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.integer_byte_model import IntegerByteModel
from latent_jax.models.integer_device import IntegerDeviceModel
from latent_jax.paths import open_to_read, replace_file
from latent_jax.platform import Platform
from latent_jax.tokenizers import CompiledCode
from latent_jax.tokenizers.byte_model import ByteModel

logger = logging.getLogger(__name__)

MIN_CONTEXT, MAX_CONTEXT = 32, 256
"""Bounds of the bytes that M1 attends to: MIN where it is reset after a few bytes, MAX where it is
never reset."""

FLOAT_M1 = "M1 is compiled, which takes about half a minute"
"""What a code takes that a float byte model drives, before it has a fingerprint."""


def load_m1(path: str = "", context: int = 64, lanes: int = 0) -> ByteModel:
    """Return a byte model.

    Args:
        path: a file that `launch/prepare.py m1` wrote; "" = the one in the package.
        context: how many positions it attends to.
        lanes: texts that it reads side by side; 0 = the platform's choice. A decoder must use as
            many as the encoder.

    Raises:
        ValueError: there is no such file, it holds something else, it is not the one that the
            record beside it describes, or `lanes` is negative.
    """
    if lanes < 0:
        raise ValueError(f"lanes={lanes}: give at least 1, or 0 for the platform's choice")
    content = read_m1(path)
    try:
        return _parsed(content, context, lanes or Platform.current().byte_model_lanes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path or M1_FILE} is no byte model, or was cut short: write it again with "
            f"python launch/prepare.py m1 ({error})"
        ) from error


@functools.lru_cache(maxsize=16)
def _parsed(content: bytes, context: int, lanes: int) -> ByteModel:
    kind = GPTByteModel
    if is_integer_file(content):
        kind = IntegerByteModel if Platform.current().kind == "cpu" else IntegerDeviceModel
    return kind.from_bytes(content, context=context, lanes=lanes)


def m1_digest(path: str = "") -> str:
    """Return the SHA-256 hex digest of a byte model's file.

    Args:
        path: see `load_m1`.

    Raises:
        ValueError: the file cannot be read.
    """
    return hashlib.sha256(read_m1(path)).hexdigest()


def write_m1(path: Path, content: bytes, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write the file of a byte model and, beside it, what is known of it and its SHA-256.

    Args:
        path: of the file; the record gets the same name and `.json`.
        content: of the file.
        record: JSON data.

    Returns:
        The record, with the digest.

    Raises:
        OSError: they cannot be written.
    """
    record = {**record, "sha256": hashlib.sha256(content).hexdigest()}
    replace_file(path, content)
    replace_file(path.with_suffix(".json"), (json.dumps(record, indent=2) + "\n").encode())
    return record


def read_m1(path: str = "") -> bytes:
    """Return the content of a byte model's file.

    Args:
        path: see `load_m1`.

    Raises:
        ValueError: it cannot be read, or is not the one that the record beside it describes.
    """
    file = Path(path).expanduser() if path else FOLDER / M1_FILE
    try:
        with open_to_read(file) as opened:
            content = opened.read()
    except OSError as error:
        raise ValueError(
            f"the byte model {file} cannot be read ({error.strerror}): make one with "
            "python launch/train.py --config configs/m1.py and python launch/prepare.py m1"
        ) from error
    _check_digest(file, content)
    return content


@functools.cache
def _warn(file: Path) -> None:
    logger.warning("%s has no digest beside it: damage to it would not be noticed", file)


def _check_digest(file: Path, content: bytes) -> None:
    """Refuse a byte model that is not the one whose record lies beside it."""
    record = file.with_suffix(".json")
    kind = Kind(None, way_out="restore it, or remove it to go without")
    known = read_json(record, kind) if record.exists() else {}
    if not isinstance(known, dict) or "sha256" not in known:
        _warn(file)
    elif hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise ValueError(
            f"the byte model {file} was damaged or changed since {record.name} was written beside "
            "it (another SHA-256): restore it, or write it again with python launch/prepare.py m1"
        )


def load_compiled(folder: str = "") -> CompiledCode:
    """Return a compiled code; an empty `folder` stands for the one in the package.

    Raises:
        ValueError: there is none.
        FingerprintError: its files were changed.
    """
    return CompiledCode.load(Path(folder).expanduser() if folder else FOLDER / COMPILED_FOLDER)
