"""The interface of a family of methods: name, options, and how code, task and writer are made.

A family is a class in a file of its own in this folder, decorated with `registry.register`.
Everything that looks up methods by name uses the registry: names and their errors, `--help`,
tokenizers, tasks, writers, and the tests that run over all methods.
"""

import abc
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from ml_collections import ConfigDict

from latent_jax.contracts import Code, FieldSpec, Stream, Task, Variables, Vocabulary, Writer
from latent_jax.data import Corpus, TrainBatches
from latent_jax.data.packing import RowLayout
from latent_jax.data.problem_rows import AMOUNTS, problem_fields
from latent_jax.methods.budget import TEXT
from latent_jax.platform import Platform
from latent_jax.ranges import Range, at_least, check, check_fields, one_of
from latent_jax.tokenizers import Tokenizer, load

logger = logging.getLogger(__name__)


POSITIVE = at_least(1)
"""The numbers of an option that says nothing else."""


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a literature name, such as v in `BPE[v=4096]`.

    Attributes:
        meaning: for people, in a few words.
        words: the values it can have; () = a number.
        default: its value in a name that leaves it out; None if a name must state it, or if
            `Family.defaults` decides.
        is_positional: whether names give its value without "NAME=".
        numbers: the numbers it can have, where it has no words.
        also: words that it can have beside numbers.
        is_whole: whether they are whole; else decimals such as 4.5 are numbers too. A value that
            is whole is an int all the same.

    Raises:
        ValueError: a field is not of its type, or the default is none of the values.
    """

    meaning: str
    words: tuple[str, ...] = ()
    default: int | float | str | None = None
    is_positional: bool = False
    numbers: Range = POSITIVE
    also: tuple[str, ...] = ()
    is_whole: bool = True

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "Option: ")
        if not isinstance(self.numbers, Range):
            raise ValueError(
                f"Option: numbers must be a range of latent_jax/ranges.py; got {self.numbers!r}"
            )
        if not self.meaning:
            raise ValueError("Option: meaning must say in a few words what the option is")
        if self.default is not None:
            self.check(f"Option({self.meaning!r}): default", self.default)

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, which begins with `name`, unless the option can have a value."""
        if not self.words and value in self.also:
            return
        kind = Annotated[int if self.is_whole else float, self.numbers]
        check(name, value, Annotated[str, one_of(self.words)] if self.words else kind)


@dataclasses.dataclass(frozen=True)
class MethodName:
    """A parsed name: family "Latent", options {"compressor": "conv1d", "c": 2, "k": 512, ...}.

    `str` gives the name as `names.parse` reads it, without options that have their defaults.
    """

    family: str
    options: dict[str, Any]
    text: str = dataclasses.field(compare=False)

    def __getitem__(self, option: str) -> Any:
        return self.options[option]

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Sources:
    """The sources of a tokenizer; a family takes those that it needs.

    Attributes:
        corpus: text to learn from; its folder keeps what was learned. None if there is no text.
        train_bytes: raw bytes of the training split to learn from; 0 = all.
        m1: file of the byte model that drives a coder; "" = the one in the package.
        lanes: texts that M1 reads side by side; the codes depend on it. 0 = the platform's choice.
        vocab_file: GPT-2's vocab.json; "" = none.
        merges_file: GPT-2's merges.txt; "" = none.
    """

    corpus: Corpus | None = None
    train_bytes: int = 0
    m1: str = ""
    lanes: int = 0
    vocab_file: str = ""
    merges_file: str = ""

    def kept(self, method: MethodName, train: Callable[[Iterator[bytes]], Tokenizer]) -> Tokenizer:
        """Return the tokenizer kept in the corpus's folder; if there is none, train and keep it.

        Other text has another folder, so the tokenizer is then trained anew.

        Args:
            method: its options name the folder.
            train: makes a tokenizer from texts.

        Raises:
            ValueError: there is no corpus.
            FingerprintError: the kept files were changed.
        """
        if self.corpus is None:
            raise ValueError(f"{method} is learned from text: name some with --data")
        options = "-".join(str(value) for value in method.options.values())
        name = f"{method.family.lower()}-{options}-{self.train_bytes}"
        folder = self.corpus.folder / "tokenizers" / name
        if folder.exists():
            return load(folder)
        logger.info("Training %s on %s", method, self.corpus.folder)
        documents = self.corpus.documents("train", self.train_bytes)
        tokenizer = train(document.text for document in documents)
        tokenizer.save(folder)
        return tokenizer


class Family(abc.ABC):
    """A family of methods. Subclasses are registered as classes and used as one instance.

    Attributes:
        name: as the literature writes it: the part before the bracket.
        summary: one line that describes its code.
        renamed: older name of an option -> its name.
        options: by name, in the order in which names print them, positional ones first.
        example: a name of this family, for messages and for the tests that run over all families.
        rank: tables show families in ascending order of rank.
        colour: in pictures, an index into `reports.style.PALETTE`; None = grey.
        learns_code: whether its code is learned from a corpus or in a run, so that a file cannot be
            coded without the learned part; see `is_learned`.
        reads_ids: whether its language model reads the ids of the tokenizer.
        reads_gpt2_files: whether its tokenizer can be read from GPT-2's two files.
        amounts: the units that its tasks count, in which budgets can be given.
        ids_are_bytes: whether each id of a row is one raw byte, on any text.
        reads_problems: whether its rows are problems with worked answers, of a source of
            `data.sources.PROBLEMS`, and not text.
        rotary: whether the network `model` must have rotary positions.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    options: ClassVar[Mapping[str, Option]] = {}
    renamed: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[str]
    rank: ClassVar[int] = 1000
    colour: ClassVar[int | None] = None
    learns_code: ClassVar[bool] = False
    reads_ids: ClassVar[bool] = True
    reads_gpt2_files: ClassVar[bool] = False
    ids_are_bytes: ClassVar[bool] = False
    amounts: ClassVar[tuple[str, ...]] = TEXT
    reads_problems: ClassVar[bool] = False
    rotary: ClassVar[bool] = False

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of options that a name may leave out, given the stated ones."""
        del options
        return {key: o.default for key, o in self.options.items() if o.default is not None}

    def check(self, method: MethodName) -> None:
        """Raise ValueError where options do not go together; the message says which."""
        del method

    def is_learned(self, method: MethodName) -> bool:
        """Return whether the code of a method is learned: `learns_code`, unless options decide."""
        del method
        return self.learns_code

    def is_driven(self, method: MethodName) -> bool:
        """Return whether a byte model runs for every byte; sweeps encode such rows beforehand."""
        del method
        return False

    def builds(self, method: MethodName, m1: str = "") -> str:
        """Return what takes long before its code has a fingerprint, in words; "" = nothing does.

        A file of others may ask for any code. Before such a one is begun, the file's header is
        compared with its name and `vocab_size`, whose highest id must be the separator, and what
        this returns is said.
        """
        del method, m1
        return ""

    def bytes_per_latent(self, method: MethodName) -> int:
        """Return the raw bytes that one latent stands for; 0 for a family without latents."""
        del method
        return 0

    @abc.abstractmethod
    def vocab_size(self, method: MethodName) -> int:
        """Return how many ids the tokenizer has, the separator included, without making it."""

    @abc.abstractmethod
    def make_code(self, method: MethodName, sources: Sources) -> Tokenizer:
        """Return the tokenizer that turns raw bytes into the ids of rows.

        Raises:
            ValueError: a source that it needs is missing, or options do not go together.
        """

    def row_code(self, method: MethodName, config: ConfigDict, tokenizer: Tokenizer) -> Code:
        """Return the code that makes rows of documents: for text, the tokenizer itself.

        A family that reads problems returns a `data.problem_rows.ProblemCode`, or another code
        whose arrays `row_layout` describes.

        Raises:
            ValueError: a value of the configuration makes no code.
        """
        del method, config
        if self.reads_problems:
            raise NotImplementedError(f"the family {self.name} reads problems: it has a row_code")
        return tokenizer

    def row_layout(self, method: MethodName, config: ConfigDict) -> RowLayout:
        """Return the arrays of a row of `row_code`, without a tokenizer; only padding may differ.

        Args:
            method: parsed.
            config: with its row length solved.
        """
        del method
        if self.reads_problems:
            return RowLayout(config.row_length, problem_fields(), AMOUNTS)
        return RowLayout(config.row_length, {"ids": FieldSpec()}, ("bytes",))

    def rows_read(self, config: ConfigDict) -> int:
        """Return how many rows of a source a step reads; all of the batch, unless several come of
        one.
        """
        return config.batch_size

    def make_stream(
        self, config: ConfigDict, task: Task, tokenizer: Tokenizer, batches: TrainBatches
    ) -> TrainBatches | Stream:
        """Return what the loop trains on: the batches, or a stream that makes others of them.

        Args:
            config: with its row length solved.
            task: of the configuration.
            tokenizer: of its ids.
            batches: an endless iterator over batches of `rows_read` rows.
        """
        del config, task, tokenizer
        return batches

    def settled(self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary) -> MethodName:
        """Return the method with the options that its name leaves to be solved.

        Args:
            method: parsed.
            config: with its row length solved.
            vocabulary: with the measured bytes per token.

        Raises:
            ValueError: no value solves them; the message says which can be reached.
        """
        del config, vocabulary
        return method

    @abc.abstractmethod
    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return the task: model, loss and scores.

        Args:
            method: parsed.
            config: as `configs.common.default` makes it.
            vocabulary: of its tokenizer.
            platform: decides every "auto" of the configuration.

        Raises:
            ValueError: no model can be made from a value; the message names its config key.
        """

    @abc.abstractmethod
    def make_writer(
        self, task: Task, variables: Variables, tokenizer: Tokenizer, row_length: int
    ) -> Writer:
        """Return a writer, which continues prompts with a trained model of this family.

        Raises:
            ValueError: the trained model has no language model.
        """


def transformer_keys(section: ConfigDict, platform: Platform) -> dict[str, Any]:
    """Return the keys and values of a transformer's config section, with "auto" dtype resolved."""
    keys = dict(section)
    if keys["dtype"] == "auto":
        keys["dtype"] = platform.dtype
    return keys


def head_of(config: ConfigDict, n_ids: int, platform: Platform) -> str:
    """Return the head that computes cross-entropy over `n_ids` ids, one of `tasks.heads.HEADS`."""
    return platform.head(n_ids) if config.head == "auto" else config.head
