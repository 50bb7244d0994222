"""What the rooms of this house promise each other: read this file first.

    Document -> Code -> Batch -> Task (model, loss, scores) -> step -> run folder -> Writer

It holds shapes of data and protocols, and nothing that computes. Shape letters, the suffixes of
arrays everywhere: B batch, L ids of a row, T bytes or tokens, K latents, D width, H heads, G heads
of keys and values, F feed-forward width, V vocabulary or codes, C compression factor, W window
bits, N latents or rows flattened, E width of a code.
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
"""Arrays by name, of static shapes: the fields of the code, of text "ids" int32[B, L]; "weights"
float32[B, L], 0 where a position is not scored; and for each unit of the code what a row is worth,
of text "n_bytes" int32[B], the raw bytes that its scored ids stand for.
"""

Scores = dict[str, Any]
"""Arrays by name, sums over a batch and never means: adding two dictionaries merges two batches,
hosts or ragged ends exactly.
"""


class Document(NamedTuple):
    """One text.

    Attributes:
        key: names the document wherever it is stored; its hash decides the split. It need not be
            unique: documents that share a key share a split.
        text: the raw bytes, in any encoding.
    """

    key: str
    text: bytes


@dataclasses.dataclass(frozen=True)
class FieldSpec:
    """An array that a code gives for every position of an example.

    Attributes:
        dtype: NumPy's name of it.
        shape: of one position.
        padding: what stands where a row has no position.
    """

    dtype: str = "int32"
    shape: tuple[int, ...] = ()
    padding: float = 0


class Encoded(NamedTuple):
    """An example as its code gives it: n positions.

    Attributes:
        fields: by name, arrays of n positions, each as its `FieldSpec` says.
        amounts: by unit, int32[n], what each position is worth: {"bytes": ...}.
    """

    fields: Mapping[str, np.ndarray]
    amounts: Mapping[str, np.ndarray]


class Code(Protocol):
    """What makes fields of an example, which for text is a `Document`.

    Attributes:
        name: for people.
        fields: the arrays that it gives, by name.
        amounts: the units that it counts, such as ("bytes",).
    """

    name: str
    fields: Mapping[str, FieldSpec]
    amounts: tuple[str, ...]

    def encode_example(self, example: Any) -> Encoded:
        """Encode. The last position marks the end of the example, as a separator does for text."""
        ...

    def fingerprint(self) -> str:
        """Return a word that changes when the same example would be encoded otherwise."""
        ...


def amount_key(unit: str) -> str:
    """Return the name of an amount in a batch and among scores."""
    return f"n_{unit}"


class Source(Protocol):
    """Where documents come from."""

    def documents(self) -> Iterator[Document]:
        """Yield every document, always in the same order."""
        ...

    def stamp(self) -> Any:
        """Return JSON data that changes when the documents may have, without reading them."""
        ...


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a task needs to know of a tokenizer.

    Attributes:
        size: number of ids.
        separator_id: the id between documents.
        bytes_per_token: raw bytes per id, measured on the corpus.
        flops_per_byte: forward FLOPs of the tokenizer's own model per raw byte.
    """

    size: int
    separator_id: int
    bytes_per_token: float
    flops_per_byte: float = 0.0

    @classmethod
    def of(cls, tokenizer: Tokenizer, bytes_per_token: float) -> Vocabulary:
        """Return the vocabulary of a tokenizer."""
        return cls(
            tokenizer.vocab_size,
            tokenizer.separator_id,
            bytes_per_token,
            tokenizer.flops_per_byte,
        )


class Chunks(NamedTuple):
    """A sequence made shorter.

    Attributes:
        z_BKD: one vector for each chunk, in the compute dtype; zeros where there is none. K is a
            static capacity.
        mask_BK: bool, True where the chunk is real.
        chunk_of_BT: int32, the chunk that each position belongs to.
        aux_loss: float32 scalar, added to the loss; 0 for a method without one.
        stats: sums to log, by name.
    """

    z_BKD: jax.Array
    mask_BK: jax.Array
    chunk_of_BT: jax.Array
    aux_loss: jax.Array
    stats: dict[str, jax.Array]


class Chunker(Protocol):
    """A Flax module that makes a sequence shorter."""

    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the chunks of a batch; `mask_BT` is False at the padding behind each row."""
        ...


class Dechunker(Protocol):
    """A Flax module that makes it longer again."""

    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return [B, T, D] from vectors of chunks; of `chunks` only where they lie counts."""
        ...


class Task(Protocol):
    """What is trained: a model, its loss and its scores. All methods are pure functions over
    pytrees.

    `loss` is differentiated and may return new state; `evaluate` is deterministic and returns
    everything that is reported on held-out text; `summarize` turns summed scores into metrics.
    """

    name: str
    headline: str
    """The metric that a run is judged by: shown, compared, and kept best by; lower is better."""
    component_flops: Mapping[str, float]
    """Floating-point operations of one forward pass per raw byte, by component."""
    flops_per_byte: float
    """Their sum."""
    tokenizer_flops_per_byte: float
    """Forward FLOPs of the tokenizer's own model, M1, per raw byte; 0 where it has none."""
    train_flops_per_byte: float
    """What training costs per raw byte: forward and backward, which is three times the forward
    pass, and once what the tokenizer's own model costs.
    """
    fields: tuple[str, ...]
    """What it reads of a batch, beside weights and amounts; of text ("ids",)."""
    amounts: Mapping[str, float]
    """Units that its scores count in whole numbers, each under `amount_key`, and what a position of
    a row is worth in each on average. The loop adds up what happens; budgets are planned with the
    averages. Speed is measured in the first unit. Of text {"bytes": 3.4, "tokens": 1.0}, where a
    token is what the language model reads: an id, or a code, of which a byte is 1 / C.
    """
    stacks: tuple[tuple[TransformerConfig, int], ...]
    """Each stack of blocks that a step trains, and the positions of a row that it reads."""
    frozen: tuple[str, ...]
    """Regular expressions over "/"-joined parameter paths that are not trained."""

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
        """Return the FLOPs of training on so much of each of its `amounts`."""
        ...

    def evaluate(self, variables: Variables, batch: Batch) -> Scores:
        """Score held-out text: no dropout, no state is changed."""
        ...

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Turn summed scores into metrics with units in their names, such as "bits_per_byte"."""
        ...


class Stream(Protocol):
    """Training batches that may depend on the weights, as roll-outs do.

    An iterator of batches with a state, as Grain makes them of text, is one that does not.
    """

    def next(self, variables: Variables, key: jax.Array) -> Batch:
        """Return the batch for a step.

        Args:
            variables: those that the step will start from. The step frees them: keep none.
            key: typed; the same for the same step of the same run.
        """
        ...

    def get_state(self) -> Any:
        """Return what decides the batches to come, besides variables and keys, as JSON data."""
        ...

    def set_state(self, state: Any) -> None:
        """Go to a state that `get_state` returned."""
        ...


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One of the things that a run is scored on while it trains.

    Attributes:
        batches: makes a finite iterable of batches, anew for each time; as many in every process.
        prefix: stands before the names of its metrics.
        every: it takes part in every so many evaluations of the run, and in the last one.
        task: whose `evaluate` and `summarize` score it; None = the task that is trained.
    """

    batches: Callable[[], Iterable[Batch]]
    prefix: str = ""
    every: int = 1
    task: Task | None = None


@dataclasses.dataclass(frozen=True)
class Written:
    """One continuation of a prompt.

    Attributes:
        prompt: as it was given.
        kept: what the model's own ids keep of the prompt: the prompt, without its last bytes where
            a stream cannot hold them yet, or as a latent language gives it back.
        text: what follows.
        n_ids: ids that were drawn for it.
        nats: -log p of these ids under the model as it is, without temperature or truncation.
        stop: why the text stops, one of those in `generation.written`.
    """

    prompt: bytes
    kept: bytes
    text: bytes
    n_ids: int
    nats: float
    stop: str


class Writer(Protocol):
    """A trained model that goes on from prompts."""

    def flops(self, n_prompt_ids: int, n_ids: int) -> float:
        """Return forward FLOPs of reading a prompt and drawing so many ids, text included."""
        ...

    def write(
        self,
        prompts: Sequence[bytes],
        keys: jax.Array,
        sampling: Sampling,
        n_bytes: int,
        show: Callable[[Sequence[bytes]], None] | None = None,
    ) -> list[Written]:
        """Go on from each prompt.

        Args:
            prompts: of any lengths.
            keys: typed keys, one for each prompt.
            sampling: how ids are drawn.
            n_bytes: of new text, where the model neither ends it nor has no more room.
            show: called with all texts so far, prompts included, whenever they have grown.

        Raises:
            ValueError: a prompt leaves no room for new text.
        """
        ...
