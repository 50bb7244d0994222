"""Deflate (RFC 1951) as a tokenizer: the method "GZip" of Lester et al. 2024, section 3.3.

The text is cut into examples of 10,240 bytes, and each is compressed separately at zlib's default
level. A zlib stream (RFC 1950) has a header of 2 bytes and a checksum of 4. The paper keeps both;
its table 10 shows the effect of removing them.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from latent_jax.tokenizers.bit_tokenizer import BitTokenizer, Stream

EXAMPLE_BYTES = 10_240


class GZip(BitTokenizer):
    """Tokens that are one or two bytes of zlib streams.

    Args:
        vocab: 256 or 65,536.
        header: whether each stream keeps its header and checksum.

    Raises:
        ValueError: `vocab` is another number.
    """

    kind = "gzip"
    file_names = ("gzip.json",)

    def __init__(self, vocab: int, header: bool = True):
        """Set the form of the streams."""
        super().__init__(vocab)
        if self.token_bits % 8:
            raise ValueError(f"GZip[v={vocab}]: tokens are whole bytes: v must be 256 or 65536")
        self._header = header
        self.name = f"GZip[v={vocab}]" if header else f"GZip[v={vocab},header=no]"

    @property
    def _window(self) -> int:
        """The `wbits` of zlib; negative without header and checksum."""
        return zlib.MAX_WBITS if self._header else -zlib.MAX_WBITS

    def _encode_bits(self, texts: Sequence[bytes]) -> list[list[Stream]]:
        streams = []
        for text in texts:
            data = bytearray()
            for start in range(0, len(text), EXAMPLE_BYTES):
                deflate = zlib.compressobj(wbits=self._window)
                data += deflate.compress(text[start : start + EXAMPLE_BYTES]) + deflate.flush()
                data += bytes(-len(data) % (self.token_bits // 8))
            bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8))
            streams.append([Stream(bits, self._inflate(bytes(data))[1])])
        return streams

    def _decode_bits(
        self, streams: Sequence[np.ndarray], max_bytes: int | None = None
    ) -> list[tuple[bytes, np.ndarray]]:
        return [self._inflate(np.packbits(bits).tobytes(), max_bytes) for bits in streams]

    def _inflate(self, data: bytes, max_bytes: int | None = None) -> tuple[bytes, np.ndarray]:
        """Return the text of joined streams and its `Stream.ends`; the last may be truncated."""
        size = self.token_bits // 8
        text, ends = bytearray(), []
        inflate = zlib.decompressobj(wbits=self._window)
        for start in range(0, len(data), size):
            if inflate.eof:
                inflate = zlib.decompressobj(wbits=self._window)
            try:
                found = inflate.decompress(data[start : start + size])
            except zlib.error as error:
                raise ValueError(
                    f"{self.name}: token {start // size} of a text cannot follow those before it "
                    f"({error}): these ids were not made by this tokenizer, or are damaged"
                ) from error
            text += found
            self._check_total(len(text), max_bytes, 1)
            ends += [8 * (start + size)] * len(found)
        return bytes(text), np.array(ends, np.int64)

    def _files(self) -> dict[str, bytes]:
        options = {"vocab": 1 << self.token_bits, "header": self._header}
        return {"gzip.json": json.dumps(options).encode()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls(**json.loads(files["gzip.json"]))
