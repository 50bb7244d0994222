"""Saved tokenizers of any kind, read back by the kind that their folder states."""

from pathlib import Path

from latent_jax.tokenizers.ac import AC
from latent_jax.tokenizers.base import Tokenizer, read_metadata
from latent_jax.tokenizers.bpe import BPE
from latent_jax.tokenizers.bytes import Bytes
from latent_jax.tokenizers.compiled import CompiledCode
from latent_jax.tokenizers.equal_info import EqualInfoAC
from latent_jax.tokenizers.gzip import GZip
from latent_jax.tokenizers.sentencepiece import SentencePiece
from latent_jax.tokenizers.static_ac import StaticAC

KINDS: dict[str, type[Tokenizer]] = {
    cls.kind: cls
    for cls in (Bytes, BPE, SentencePiece, GZip, StaticAC, AC, EqualInfoAC, CompiledCode)
}


def load(folder: Path) -> Tokenizer:
    """Reads the tokenizer that `Tokenizer.save` wrote to `folder`.

    Raises:
      FingerprintError: the files are not those that were saved.
      ValueError: the folder is missing, incomplete, or of a kind that is not known here.
    """
    kind = read_metadata(folder)["kind"]
    if kind not in KINDS:
        raise ValueError(
            f"{folder} holds a tokenizer of the unknown kind {kind!r}; known are "
            f"{', '.join(KINDS)}. It was saved by another version, or is not ours."
        )
    return KINDS[kind].load(folder)
