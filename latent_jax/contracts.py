"""The data types and protocols that all rooms (subpackages) share: read this file first.

    Document -> Code -> Batch -> Task (model, loss, scores) -> step -> run folder -> Writer

Nothing here computes. Array names end with shape letters, one per axis, which mean the same in
every file: B batch, L ids of a row, T bytes or tokens, K latents, D width, H heads, G heads of keys
and values, F feed-forward width, V vocabulary or codes, C compression factor, W window bits, N
latents or rows flattened, E width of a code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:  # a tokenizer needs no JAX
    import jax

    from latent_jax.generation.sampling import Sampling
    from latent_jax.layers.config import TransformerConfig
    from latent_jax.tokenizers.base import Tokenizer

Variables = Mapping[str, Any]
"""A pytree of Flax collections: "params" and, where a model keeps state, others such as "codebook".
"""

Batch = Mapping[str, Any]
"""Arrays by name, of static shapes:

- the fields of the code; for text this is "ids", int32[B, L];
- "weights", float32[B, L], 0 where a position is not scored;
- the amount of each unit of the code in each row; for text this is "n_bytes", int32[B], the raw
  bytes that the row's scored ids stand for.
"""

Scores = dict[str, Any]
"""Arrays by name. Each is a sum over a batch, never a mean, so that adding two dictionaries merges
two batches exactly, also those of different hosts and batches that are not full.
"""


class Document(NamedTuple):
    """One text.

    Attributes:
        key: the document's name, the same wherever it is stored. The hash of the key decides the
            split. Keys need not be unique: documents that share a key share a split.
        text: the raw bytes, in any encoding.
    """

    key: str
    text: bytes


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """An array that a code gives for every position of an example.

    Attributes:
        dtype: NumPy's name of the dtype.
        shape: the shape at one position.
        padding: the value that fills a row behind its last position.
    """

    dtype: str = "int32"
    shape: tuple[int, ...] = ()
    padding: float = 0


class Encoded(NamedTuple):
    """An encoded example of n positions.

    Attributes:
        fields: name -> array of n positions, with the dtype and shape of its `FieldSpec`.
        amounts: unit -> int32[n], the amount that each position stands for: {"bytes": ...}.
    """

    fields: Mapping[str, np.ndarray]
    amounts: Mapping[str, np.ndarray]


class Code(Protocol):
    """An encoder of examples into fields. An example of text is a `Document`.

    A code may have `row_length` and `fits(example)` as well: every example then has exactly so many
    positions, or none where it does not fit, and rows have that length. So each row is one whole
    example.

    Attributes:
        name: the name that tables and messages show.
        fields: the arrays that the code returns, by name.
        amounts: the units that it counts, such as ("bytes",).
    """

    name: str
    fields: Mapping[str, FieldSpec]
    amounts: tuple[str, ...]

    def encode_example(self, example: Any) -> Encoded:
        """Encode an example. The last position marks its end, as a separator does for text."""
        ...

    def fingerprint(self) -> str:
        """Return a string that changes when the same example would be encoded differently."""
        ...


def amount_key(unit: str) -> str:
    """Return the name that the amount of a unit has in a batch and in scores: "n_bytes"."""
    return f"n_{unit}"


class Source(Protocol):
    """A source of documents."""

    def documents(self) -> Iterator[Document]:
        """Yield every document, always in the same order."""
        ...

    def stamp(self) -> Any:
        """Return JSON data that changes whenever the documents may have changed.

        The documents are not read for it.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The properties of a tokenizer that a task needs.

    Attributes:
        size: number of ids.
        separator_id: the id between documents.
        bytes_per_token: raw bytes per id, measured on the corpus.
        flops_per_byte: forward FLOPs of the tokenizer's own model per raw byte; 0 without one.
        encode: returns the ids of a text, for a task that knows certain texts; None where no
            tokenizer was made, because a program is costed only.
    """

    size: int
    separator_id: int
    bytes_per_token: float
    flops_per_byte: float = 0.0
    encode: Callable[[bytes], np.ndarray] | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def of(cls, tokenizer: Tokenizer, bytes_per_token: float) -> Vocabulary:
        """Return the vocabulary of a tokenizer."""
        return cls(
            tokenizer.vocab_size,
            tokenizer.separator_id,
            bytes_per_token,
            tokenizer.flops_per_byte,
            tokenizer.encode,
        )


class Chunks(NamedTuple):
    """A batch of sequences, each shortened to at most K chunks.

    Attributes:
        z_BKD: one vector per chunk, in the compute dtype; zeros where there is no chunk. K is a
            static capacity.
        mask_BK: bool, True where there is a chunk.
        chunk_of_BT: int32, the index of the chunk that each position belongs to.
        aux_loss: float32 scalar, added to the loss; 0 for a method that has no such loss.
        stats: sums to log, by name.
    """

    z_BKD: jax.Array
    mask_BK: jax.Array
    chunk_of_BT: jax.Array
    aux_loss: jax.Array
    stats: dict[str, jax.Array]


class Chunker(Protocol):
    """A Flax module that shortens sequences.

    Where the text decides how, `chunking.dynamic.chunker` reads a `Row` (ids and starts of
    documents too) in place of the mask, and returns beside the chunks where they begin.
    """

    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the chunks of a batch; `mask_BT` is False at the padding behind each row."""
        ...


class Dechunker(Protocol):
    """A Flax module that turns chunks back into sequences of the original length."""

    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return [B, T, D] from one vector per chunk.

        It uses the positions of `chunks` (`mask_BK`, `chunk_of_BT`), not their vectors.
        """
        ...


class Task(Protocol):
    """A training task: a model, its loss and its scores.

    All methods are pure functions over pytrees. `loss` is differentiated and may return new state;
    `evaluate` is deterministic and returns everything that is reported on held-out text;
    `summarize` turns summed scores into metrics.
    """

    name: str
    headline: str
    """The metric by which runs are shown and compared, and the best checkpoint is chosen; lower is
    better.
    """
    component_flops: Mapping[str, float]
    """Floating-point operations of one forward pass per raw byte, by component."""
    flops_per_byte: float
    """The sum of `component_flops`."""
    tokenizer_flops_per_byte: float
    """Forward FLOPs of the tokenizer's own model, M1, per raw byte; 0 where it has none."""
    train_flops_per_byte: float
    """FLOPs of training per raw byte: three forward passes' worth (one forward, one backward of
    twice its cost), plus one forward pass of the tokenizer's own model.
    """
    fields: tuple[str, ...]
    """The fields of a batch that the task reads beside weights and amounts; for text ("ids",)."""
    amounts: Mapping[str, float]
    """The units that its scores count, in whole numbers under the names of `amount_key`, and what a
    position of a row is worth in each on average. The loop adds up what happens; budgets are
    planned with the averages. Speed is measured in the first unit. For text {"bytes": 3.4,
    "tokens": 1.0}, where a token is what the language model reads: an id, or a latent code.
    """
    stacks: tuple[tuple[TransformerConfig, int], ...]
    """Each stack of blocks that a step trains, with the number of positions per row it reads."""
    frozen: tuple[str, ...]
    """Regular expressions that match the "/"-joined paths of the parameters that stay frozen.

    A task may also have `rates`, from such expressions to functions from an optimizer step to a
    factor on the learning rate, and `milestones`, from finished steps to sentences to show there.
    It may have `copies`, from a collection to the one that it begins as a copy of: `init` returns
    both, and where a run begins with the weights of another one, the copy is made of those.
    It may have `borrowed`, from what paths of frozen parameters begin with, such as "params/m1/",
    to a config key and its value, the run folder whose parameters they are; they are read from
    there when a run begins.
    It may have `samples(variables, batch, tokenizer)`, which every process calls with a held-out
    batch after an evaluation, and which returns texts for people; or `reconstruct` or
    `boundaries(variables, batch)`, see `experiments.samples`. What has `boundaries` is analyzed by
    `launch/analyze.py boundaries`.
    """

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Draw the initial variables; only the shapes of `batch` matter."""
        ...

    def loss(
        self, variables: Variables, batch: Batch, key: jax.Array, step: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Scores, Variables]]:
        """Return the mean loss (float32 scalar), its scores and the updated non-parameter
        collections.

        `scores["weight"]` is the denominator of the mean, so that micro-batches can be merged
        exactly.
        """
        ...

    def train_flops(self, seen: Mapping[str, float]) -> float:
        """Return the FLOPs of training on these amounts: `seen` maps each unit to its count."""
        ...

    def evaluate(self, variables: Variables, batch: Batch) -> Scores:
        """Return the scores of held-out text, without dropout and without a change of state."""
        ...

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics of summed scores, with units in names, such as "bits_per_byte"."""
        ...


class Stream(Protocol):
    """A source of training batches that may depend on the weights, as roll-outs do.

    Where batches do not depend on the weights, as with text, the loop takes an iterator with a
    state, such as one of Grain's, in place of a `Stream`.

    It may have `measured(seconds)`, which returns metrics of its own work since it was last asked,
    given the seconds of training in that time; they stand in the records of training.
    """

    def next(self, variables: Variables, key: jax.Array) -> Batch:
        """Return the batch for a step.

        Args:
            variables: the variables that the step starts from. The step frees their buffers, so
                keep no reference to them.
            key: a typed key; the same for the same step of the same run.
        """
        ...

    def get_state(self) -> Any:
        """Return as JSON data all that, besides variables and keys, decides the next batches."""
        ...

    def set_state(self, state: Any) -> None:
        """Restore a state that `get_state` returned."""
        ...


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A set of batches that a run is scored on while it trains.

    Attributes:
        batches: returns a new finite iterable of batches at every call, with the same number of
            batches in every process.
        prefix: put before the names of its metrics.
        every: N: it runs at every Nth evaluation of the run, and at the last one.
        task: the task whose `evaluate` and `summarize` score it; None = the task that is trained.
    """

    batches: Callable[[], Iterable[Batch]]
    prefix: str = ""
    every: int = 1
    task: Task | None = None


class Thought(NamedTuple):
    """A place where a model thought.

    Attributes:
        at: bytes of the new text before it.
        n_slots: how many slots it took.
        said: what it wrote there; empty for thoughts that are vectors.
    """

    at: int
    n_slots: int
    said: bytes = b""


@dataclasses.dataclass(frozen=True)
class Written:
    """One continuation of a prompt.

    Attributes:
        prompt: the prompt as it was given.
        kept: the prompt as the model's own ids decode to it. A compressed stream may lack the last
            bytes of the prompt; a latent language returns its reconstruction of the prompt.
        text: the new text.
        n_ids: number of ids that were drawn for `text`.
        nats: -log p of these ids under the model, before temperature and truncation.
        stop: why the text ends, one of the reasons in `generation.written`.
        thoughts: where a reasoner thought, in order.
    """

    prompt: bytes
    kept: bytes
    text: bytes
    n_ids: int
    nats: float
    stop: str
    thoughts: tuple[Thought, ...] = ()


class Writer(Protocol):
    """A trained model that continues prompts."""

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """Return the forward FLOPs of a prompt of `n_prompt_ids` ids and of `n_ids` new ids.

        The encoder and decoder of a latent language are included; a tokenizer's own model is not.
        """
        ...

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """Continue each prompt.

        Args:
            prompts: raw bytes; lengths may differ.
            keys: typed keys, one for each prompt.
            sampling: how ids are drawn.
            n_bytes: length of the new text, unless the model ends it earlier or its row is full.
            show: called with all texts so far, prompts included, whenever they have grown.

        Raises:
            ValueError: a prompt leaves no room for new text.
        """
        ...
