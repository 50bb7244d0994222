"""GSM8K (Cobbe et al. 2021), or problems in its syntax, as a source: files of one's own, or TFDS.

The key of a problem is its question, so that the hash of the question decides the split. Each
problem is parsed once here: a corpus never holds one that no method could read.
"""

from collections.abc import Iterator
from typing import Any

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError
from latent_jax.data.files import Files, read_records
from latent_jax.data.problems import MOST_BYTES, parse_problem, problem_document, shown
from latent_jax.data.tfds_source import Tfds
from latent_jax.data.verifier import number_of

TFDS_NAME = "gsm8k"
FIELDS = ("question", "answer")


class ProblemFiles:
    """A source of the problems in .jsonl files with "question" and "answer", also packed ones."""

    def __init__(self, patterns: tuple[str, ...]):
        """Find the files; patterns are those of `Files`.

        Raises:
            CorpusError: a file is not there, or is no .jsonl file.
        """
        self._files = Files(patterns)
        for path, name in zip(self._files.paths, self._files.names, strict=True):
            if not name.endswith(".jsonl"):
                raise CorpusError(
                    f"{path} is no .jsonl file: data.source='gsm8k' reads files of one object a "
                    "line, with the fields 'question' and 'answer', also .gz .xz .zst."
                )

    def stamp(self) -> Any:
        """Return path, size and time of every file."""
        return ["gsm8k", self._files.stamp()]

    def documents(self) -> Iterator[Document]:
        """Yield the problems of each file in turn.

        Raises:
            CorpusError: a line holds no problem; the message names it.
        """
        for path in self._files.paths:
            for _, where, record in read_records(path):
                yield _document(record, where)


class TfdsProblems:
    """A source of the problems of a TFDS dataset with the features "question" and "answer"."""

    def __init__(self, name: str = "", split: str = "train", data_dir: str = ""):
        """Find the dataset; see `Tfds`.

        Args:
            name: in TFDS; empty = `TFDS_NAME`.
            split: of the dataset, or a slice.
            data_dir: folder of prepared datasets; empty for TFDS's own default.

        Raises:
            CorpusError: see `Tfds`.
        """
        self._name = name or TFDS_NAME
        self._dataset = Tfds(self._name, split, data_dir, FIELDS[0])
        self._dataset.check_feature(FIELDS[1], "set data.tfds_name to a dataset of problems")

    def stamp(self) -> Any:
        """Return the stamp of the dataset."""
        return ["gsm8k", self._dataset.stamp()]

    def documents(self) -> Iterator[Document]:
        """Yield the problems in the order in which they are stored.

        Raises:
            CorpusError: an example is no problem.
        """
        for number, texts in enumerate(self._dataset.texts(FIELDS), start=1):
            where = f"TFDS dataset {self._name!r}, example {number}"
            try:
                record = {key: text.decode("utf-8") for key, text in texts.items()}
            except UnicodeDecodeError as error:
                raise CorpusError(f"{where} is not UTF-8 ({error}): leave it out.") from error
            yield _document(record, where)


def _document(record: dict[str, Any], where: str) -> Document:
    """Return the document of a problem that can be read."""
    for field in FIELDS:
        if not isinstance(record.get(field), str):
            found = ", ".join(map(repr, record)) or "an empty object"
            raise CorpusError(
                f"{where} has no text {field!r} among {found}: a problem has 'question' and "
                "'answer', in the syntax of GSM8K."
            )
    document = problem_document(record["question"], record["answer"])
    if len(document.text) > MOST_BYTES:
        raise CorpusError(
            f"{where} holds a problem of {len(document.text):,} bytes, and {MOST_BYTES:,} are the "
            "most: leave it out."
        )
    try:
        problem = parse_problem(document.text)
    except ValueError as error:
        raise CorpusError(
            f"{where} holds no problem in the syntax of GSM8K ({error}): correct it or leave it "
            "out."
        ) from error
    # Rewards and analyses compare numbers: a run would meet it after hours.
    if number_of(problem.answer) is None:
        raise CorpusError(
            f"{where} states the answer {shown(problem.answer)}, which is no number such as 72, "
            "-1,800 or $4.50: correct it or leave it out."
        )
    return document
