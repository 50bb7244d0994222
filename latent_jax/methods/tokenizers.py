"""From a literature name to a tokenizer, trained once per corpus and kept beside it."""

import logging
from pathlib import Path

from latent_jax.data import Corpus
from latent_jax.methods.names import MethodName
from latent_jax.tokenizers import BPE, Bytes, SentencePiece, Tokenizer, load

logger = logging.getLogger(__name__)

TRAINED = {"BPE": BPE, "SentencePiece": SentencePiece}


def make_tokenizer(method: MethodName, corpus: Corpus, train_bytes: int) -> Tokenizer:
    """Return the tokenizer of a method; latent methods read bytes.

    A subword tokenizer is trained on the first `train_bytes` raw bytes of the corpus's training
    split (0: all), which is stored in random order, and kept in the corpus's folder, so that a
    change of the text trains it anew.

    Raises:
        ValueError: the text supports no vocabulary of this size; FingerprintError: the kept files
            were changed.
    """
    if method.family not in TRAINED:
        return Bytes()
    folder = corpus.folder / "tokenizers" / f"{method.family.lower()}-{method['v']}-{train_bytes}"
    if folder.exists():
        return load(folder)
    logger.info("Training %s on %s", method, corpus.folder)
    documents = (document.text for document in corpus.documents("train", train_bytes))
    tokenizer = TRAINED[method.family].train(documents, method["v"])
    tokenizer.save(folder)
    return tokenizer


def load_bpe_files(method: MethodName, vocab_file: str, merges_file: str) -> Tokenizer:
    """Return a BPE from GPT-2's two files instead of training one.

    Raises:
        ValueError: the method is no BPE, one file is missing, or the vocabulary has another size
            than the name says.
    """
    if method.family != "BPE" or not (vocab_file and merges_file):
        raise ValueError(
            f"tokenizer.vocab_file={vocab_file!r} and tokenizer.merges_file={merges_file!r} go "
            f"together, and with a BPE[v=N] method; the method is {method}"
        )
    tokenizer = BPE.from_files(Path(vocab_file).expanduser(), Path(merges_file).expanduser())
    if tokenizer.vocab_size != method["v"]:
        raise ValueError(
            f"{vocab_file} holds {tokenizer.vocab_size} ids and the method is {method}: "
            f"set method=BPE[v={tokenizer.vocab_size}]"
        )
    return tokenizer


def bytes_per_token(tokenizer: Tokenizer, corpus: Corpus, sample_bytes: int = 1 << 20) -> float:
    """Return raw bytes per id on the first training documents, separators counted as ids."""
    documents = [document.text for document in corpus.documents("train", sample_bytes)]
    n_ids = sum(len(tokenizer.encode(text)) + 1 for text in documents)
    return sum(map(len, documents)) / n_ids
