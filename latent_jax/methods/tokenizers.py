"""From a literature name to a tokenizer, trained or built once and kept."""

import logging
from pathlib import Path

from tqdm import tqdm

from latent_jax.data import Corpus
from latent_jax.methods.artefacts import COMPILED_FOLDER, FOLDER, load_m1, m1_digest
from latent_jax.methods.names import MethodName
from latent_jax.tokenizers import (
    AC,
    BPE,
    Bytes,
    CompiledCode,
    EqualInfoAC,
    GZip,
    SentencePiece,
    StaticAC,
    Tokenizer,
    load,
)
from latent_jax.tokenizers.equal_info import MAX_TABLE_BITS, RESETS, usual_rule
from latent_jax.tokenizers.likeliest import likeliest_texts

logger = logging.getLogger(__name__)

TRAINED = ("BPE", "SentencePiece", "StaticAC")
"""Families whose tokenizer is learned from the text of a corpus."""

MIN_CONTEXT, MAX_CONTEXT = 32, 256
"""Bytes that M1 attends to: the least where it is reset after a few, the most where it is not."""


def make_tokenizer(
    method: MethodName, corpus: Corpus | None, train_bytes: int = 0, m1: str = "", lanes: int = 0
) -> Tokenizer:
    """Return the tokenizer of a method; latent methods read bytes.

    A tokenizer that learns is trained on the first `train_bytes` raw bytes of the corpus's training
    split (0: all), which is stored in random order, and kept in the corpus's folder, so that a
    change of the text trains it anew. A code that is compiled on the way is kept there as well.

    Args:
        method: parsed.
        corpus: what to learn from, and where to keep it.
        train_bytes: see above.
        m1: file of the byte model that drives a coder; empty is the one that the package carries.
        lanes: see `load_m1`; part of what a coder is, where M1 runs for every byte.

    Raises:
        ValueError: the text supports no vocabulary of this size, options do not go together, or M1
            cannot be read; FingerprintError: the kept files were changed.
    """
    family, options = method.family, method.options
    if family in TRAINED:
        return _trained(method, corpus, train_bytes)
    if family == "GZip":
        return GZip(options["v"], header=options["header"] == "yes")
    if family == "AC":
        return AC(load_m1(m1, MAX_CONTEXT, lanes), options["v"], options["p"])
    if family == "EqualInfoAC":
        return _equal_info(method, corpus, m1, lanes)
    return Bytes()


def _trained(method: MethodName, corpus: Corpus | None, train_bytes: int) -> Tokenizer:
    if corpus is None:
        raise ValueError(f"{method} is learned from text: name some with --data")
    options = "-".join(str(value) for value in method.options.values())
    folder = corpus.folder / "tokenizers" / f"{method.family.lower()}-{options}-{train_bytes}"
    if folder.exists():
        return load(folder)
    logger.info("Training %s on %s", method, corpus.folder)
    documents = (document.text for document in corpus.documents("train", train_bytes))
    if method.family == "StaticAC":
        tokenizer = StaticAC.train(documents, method["v"], method["p"])
    else:
        kind = BPE if method.family == "BPE" else SentencePiece
        tokenizer = kind.train(documents, method["v"])
    tokenizer.save(folder)
    return tokenizer


def _equal_info(method: MethodName, corpus: Corpus | None, m1: str, lanes: int) -> Tokenizer:
    """Return the compiled code where the package carries it or the rule asks for one."""
    if method["rule"] != "likeliest":
        return step_by_step(method, m1, lanes)
    shipped = FOLDER / COMPILED_FOLDER
    if not m1 and shipped.exists():
        code = load(shipped)
        if code.name == str(method):
            return code
    if corpus is None:
        return compiled(method, m1)
    options = "-".join(str(value) for value in method.options.values())
    folder = corpus.folder / "tokenizers" / f"equalinfoac-{options}-{m1_digest(m1)[:16]}"
    if folder.exists():
        return load(folder)
    code = compiled(method, m1)
    code.save(folder)
    return code


def compiled(method: MethodName, m1: str = "") -> CompiledCode:
    """Compile the code of windows of one token, which takes a minute on CPU.

    Raises:
        ValueError: the method is no table, or M1 cannot be read.
    """
    if method["rule"] != "likeliest":
        return CompiledCode.compile(step_by_step(method, m1))
    window_bits = method["b"]
    if usual_rule(window_bits, method["v"], method["reset"]) != "likeliest":
        raise ValueError(
            f"{method}: rule=likeliest lists the text of every id, so a window must be one token "
            f"of at most {MAX_TABLE_BITS} bits, and reset=every: give rule=exact"
        )
    model, n_texts = load_m1(m1, MIN_CONTEXT), 1 << window_bits
    with tqdm(total=n_texts, unit=" texts", desc=str(method), leave=False) as bar:
        batch = max(1024, model.lanes * model.workers)
        texts = likeliest_texts(model, n_texts, method["p"], batch, on_read=bar.update)
    return CompiledCode.of_texts(str(method), texts)


def step_by_step(method: MethodName, m1: str = "", lanes: int = 0) -> EqualInfoAC:
    """Return the coder that runs M1 for every byte, also where its code has been compiled.

    Arguments are those of `make_tokenizer`.
    """
    window_bits, reset = method["b"], method["reset"]
    # As many bytes as M1 sees bits between two resets: few windows hold more.
    bits = window_bits * RESETS[reset] or MAX_CONTEXT
    model = load_m1(m1, min(max(bits, MIN_CONTEXT), MAX_CONTEXT), lanes)
    return EqualInfoAC(
        model, window_bits, method["v"], rule=method["rule"], reset=reset, precision=method["p"]
    )


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
    n_ids = sum(len(ids) + 1 for ids, _ in tokenizer.encode_batch(documents))
    return sum(map(len, documents)) / n_ids
