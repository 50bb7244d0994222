"""The header of compressed files: which tokenizer their ids are of.

    magic, version      8 bytes
    length, JSON        of the JSON, at most 4,096 bytes
    CRC-32              of the JSON; version 1 has none

The JSON says method and bits of an id. A coder that an integer byte model drives also has the
SHA-256 of the model's file, which decides all; any other tokenizer its fingerprint, and the lanes
of the float byte model that drives it. The JSON is {} if every block is stored. Files of version 1
have fingerprints only, and no stored blocks; the oldest do not state lanes, and have 64.
"""

import dataclasses
import json
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from latent_jax.codec.reading import NUMBER, ContainerError, read_bytes, read_number
from latent_jax.tokenizers import Tokenizer

MAGIC = b"latentj"
VERSION = 2
MAX_HEADER_BYTES = 4096
MAX_LANES = 1 << 10
"""As many as a platform chooses. M1 steps all of them before fingerprints can be compared, and a
file of others must not keep a machine busy for minutes."""

CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "version": lambda version: version in (1, VERSION),
    "method": lambda text: _is_text(text, r"[\w\[\]=,.+-]*"),
    "id_bits": lambda number: type(number) is int and 0 <= number < 32,
    "fingerprint": lambda text: _is_text(text, "([0-9a-f]{64})?"),
    "model": lambda text: _is_text(text, "([0-9a-f]{64})?"),
    "lanes": lambda number: type(number) is int and 0 <= number <= MAX_LANES,
}
"""Whether a field of a header has its type and range, because it may come from anybody."""


def _is_text(text: Any, pattern: str) -> bool:
    return isinstance(text, str) and bool(re.fullmatch(pattern, text, re.ASCII))


@dataclasses.dataclass(frozen=True)
class Header:
    """What a compressed file says of its tokenizer.

    Attributes:
        version: of the file, 1 or 2.
        method: literature name; "" if all blocks are stored.
        id_bits: bits of an id.
        fingerprint: of the tokenizer; "" where `model` is stated instead.
        model: SHA-256 of the file of the integer byte model that drives it, or "".
        lanes: of the float byte model that drives it; 0 if there is none.

    Raises:
        ValueError: a field is not what it must be; the message names all that are not.
    """

    version: int = VERSION
    method: str = ""
    id_bits: int = 0
    fingerprint: str = ""
    model: str = ""
    lanes: int = 0

    def __post_init__(self):
        """Check types and ranges."""
        fields = dataclasses.asdict(self)
        wrong = [
            f"{key} is {ascii(value)[:80]}"
            for key, value in fields.items()
            if not CHECKS[key](value)
        ]
        if wrong:
            raise ValueError(", ".join(wrong))
        if bool(self.method) != (bool(self.fingerprint) != bool(self.model)):
            raise ValueError("a method has a fingerprint or a model, and nothing else has one")
        if self.model and self.lanes:
            raise ValueError(f"lanes is {self.lanes}, and an integer byte model has none")

    @classmethod
    def of(cls, tokenizer: Tokenizer | None) -> "Header":
        """Return the header of files of a tokenizer; None = all blocks are stored."""
        if tokenizer is None:
            return cls()
        words: dict[str, Any] = dict(method=tokenizer.name, id_bits=id_bits(tokenizer))
        if tokenizer.model_digest:
            return cls(**words, model=tokenizer.model_digest)
        return cls(**words, fingerprint=tokenizer.fingerprint(), lanes=tokenizer.lanes)

    def to_bytes(self) -> bytes:
        """Return it as the beginning of a file of the present version."""
        fields = dataclasses.asdict(self)
        content = json.dumps({k: v for k, v in fields.items() if v and k != "version"}).encode()
        length, checksum = NUMBER.pack(len(content)), NUMBER.pack(zlib.crc32(content))
        return MAGIC + bytes([VERSION]) + length + content + checksum

    def check(self, tokenizer: Tokenizer, name: str) -> None:
        """Check that a tokenizer reads the ids of a file.

        Args:
            tokenizer: any.
            name: of the file, for messages.

        Raises:
            ValueError: it is another one than the file was written with.
        """
        is_same = (self.method, self.id_bits) == (tokenizer.name, id_bits(tokenizer))
        if self.model:
            if not is_same or self.model != tokenizer.model_digest:
                raise ValueError(
                    f"{name} was written with {self.method} driven by the integer byte model "
                    f"{self.model[:12]}, and here is {tokenizer.name} with "
                    f"{tokenizer.model_digest[:12] or 'none'}: give that model with --m1"
                )
        elif not is_same or self.fingerprint != tokenizer.fingerprint():
            raise ValueError(
                f"{name} was written with {self.method} of fingerprint {self.fingerprint[:12]}, "
                f"and here is {tokenizer!r}: use the byte model, the device and the versions that "
                "it was compressed with, or the file is damaged"
            )


def id_bits(tokenizer: Tokenizer) -> int:
    """Return the bits that an id is stored in; the separator, often the highest id, never is."""
    highest = tokenizer.vocab_size - 1
    return (highest - (tokenizer.separator_id == highest)).bit_length()


OLD_LANES = 64
"""Of files of version 1 that do not state them."""


def read_header(source: BinaryIO, name: str) -> Header:
    """Return the header of a compressed file.

    Args:
        source: of the file, at its beginning.
        name: of the file, for messages.

    Raises:
        ContainerError: this is no compressed file, one of another version, or a damaged one.
    """
    start = source.read(len(MAGIC) + 1)
    if start[:-1] != MAGIC:
        raise ContainerError(
            f"{name} was not written by launch/compress.py (its first bytes differ)"
        )
    version = start[-1]
    if version not in (1, VERSION):
        raise ContainerError(
            f"{name} is a compressed file of version {version}, and this program reads 1 and "
            f"{VERSION}"
        )
    n_bytes = read_number(source, name)
    if n_bytes > MAX_HEADER_BYTES:
        raise ContainerError(
            f"{name} is damaged: a header of {n_bytes:,} bytes, and none has more than "
            f"{MAX_HEADER_BYTES:,}"
        )
    content = read_bytes(source, n_bytes, name)
    if version > 1 and read_number(source, name) != zlib.crc32(content):
        raise ContainerError(f"{name} is damaged: the checksum of its header differs")
    try:
        found = json.loads(content)
        if not isinstance(found, dict) or not (found or version > 1):
            raise ValueError("it is no object with a method")
        known = {key: found[key] for key in CHECKS if key in found and key != "version"}
        if version == 1:
            known = {"lanes": OLD_LANES} | known | {"model": ""}
        return Header(version=version, **known)
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"{name} is damaged: its header cannot be read ({error})") from error
