"""Equal-information windows as a tokenizer: EqualInfoAC[b=W, v=2^N] of Lester et al. 2024."""

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from latent_jax.nearest import check_word
from latent_jax.tokenizers import window_decoder, window_encoder, windows
from latent_jax.tokenizers.bit_tokenizer import BitTokenizer, Stream
from latent_jax.tokenizers.byte_model import FILE, ByteModel, digest_of, load_byte_model
from latent_jax.tokenizers.counts import check_precision
from latent_jax.tokenizers.lockstep import run, shared
from latent_jax.tokenizers.probe import Probed

RULES = ("exact", "paper", "delay")
RESETS = {"every": 1, "every_other": 2, "never": 0}
"""Name -> number of windows after which M1 forgets; 0 = never."""
MIN_WINDOW_BITS, MAX_WINDOW_BITS = 8, 128
MAX_TABLE_BITS = 16


def usual_rule(window_bits: int, vocab: int, reset: str) -> str:
    """Return the rule of a method whose name does not state one.

    It is "likeliest" (`likeliest.py`) where a window is one token of at most 16 bits and M1 forgets
    after each window, otherwise "exact". "likeliest" is a `CompiledCode`, so `RULES` lacks it.
    """
    # The length first: two to the power of any number is not made.
    is_table = window_bits <= MAX_TABLE_BITS and vocab == 1 << window_bits and reset == "every"
    return "likeliest" if is_table else "exact"


class EqualInfoAC(BitTokenizer):
    """Arithmetic coding into windows of W bits, driven by a byte model.

    Args:
        model: M1.
        window_bits: W, 8 to 128.
        vocab: 2^N, with N at most W.
        rule: "exact", "paper" or "delay"; see `windows.Rule`. Only under "paper" may decoding fail
            to restore a text.
        reset: when M1 forgets, one of `RESETS`; rules other than "exact" require "every".
        precision: bits of the integer counts, which sum to 2^precision.
        probe: the probe that a saved tokenizer stored, see `Probed`; "" for a new tokenizer.

    Raises:
        ValueError: an argument is outside its range, or two do not go together.
    """

    kind = "equal_info"
    file_names = ("equal_info.json", FILE)

    def __init__(
        self,
        model: ByteModel,
        window_bits: int,
        vocab: int,
        rule: str = "exact",
        reset: str = "every",
        precision: int = 14,
        probe: str = "",
    ):
        """Set the rule."""
        super().__init__(vocab)
        check_word("rule", rule, RULES)
        check_word("reset", reset, RESETS)
        check_precision(precision)
        self.name = _name(window_bits, vocab, rule, reset, precision)
        check_windows(self.name, window_bits, self.token_bits, rule, reset, precision)
        self._model = model
        self._options = {
            "window_bits": window_bits,
            "vocab": vocab,
            "rule": rule,
            "reset": reset,
            "precision": precision,
        }
        self.flops_per_byte, self.lanes = model.flops_per_byte, model.lanes
        self.encode_width = model.lanes * model.workers
        self.is_lossless = rule != "paper"
        # Chains of windows between two resets are decoded independently, so one text has enough of
        # them to fill all lanes.
        self.decode_width = 1 if RESETS[reset] else self.encode_width
        self._rule = windows.Rule(
            window_bits, precision, rule == "exact", rule == "delay", RESETS[reset]
        )
        self.model_digest = digest_of(model)
        self._probed = Probed(self.name, model, precision, probe)

    @property
    def model(self) -> ByteModel:
        """M1."""
        return self._model

    @property
    def window_bits(self) -> int:
        """W."""
        return self._rule.window_bits

    @property
    def reset_every(self) -> int:
        """Number of windows after which M1 forgets; 0 = never."""
        return self._rule.reset_every

    @property
    def is_table(self) -> bool:
        """Whether every id stands for the same text in every context."""
        rule = self._rule
        return rule.exact and rule.reset_every == 1 and rule.window_bits == self.token_bits

    @property
    def stream_key(self) -> str:
        """See `BitTokenizer.stream_key`."""
        options = {key: value for key, value in self._options.items() if key != "vocab"}
        return f"EqualInfoAC {options} {self._probed.digest}"

    def _encode_bits(self, texts: Sequence[bytes]) -> list[list[Stream]]:
        self._probed.check()
        full = [text for text in texts if text]
        streams = iter(shared(self._encode_group, full, [*map(len, full)], self._model))
        return [[next(streams)] if text else [] for text in texts]

    def _encode_group(self, texts: Sequence[bytes], worker: int) -> list[Stream]:
        rule, n_lanes = self._rule, self._model.lanes
        text = np.frombuffer(b"".join(texts), np.uint8)
        bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        lanes = windows.make_lanes(n_lanes, rule, bounds)
        work = windows.make_work(rule)
        ends = np.zeros(len(text), np.int64)
        items_N = np.zeros(2 * n_lanes, np.int64)  # a step may close two windows of a lane
        bits_NW = np.zeros((2 * n_lanes, rule.window_bits), np.uint8)
        items, bits = [], []

        def advance(probabilities):
            n_windows, n_active = window_encoder.encode_step(
                probabilities, lanes, rule, text, bounds, ends, items_N, bits_NW, work
            )
            if n_windows:
                items.append(items_N[:n_windows].copy())
                bits.append(np.packbits(bits_NW[:n_windows], axis=1))
            return n_active

        run(self._model, worker, lanes.ids, lanes.positions, advance)
        item = np.concatenate(items)
        order = np.argsort(item, kind="stable")
        codes = np.concatenate(bits)[order]
        starts = np.searchsorted(item[order], np.arange(len(texts) + 1))
        return [
            Stream(
                np.unpackbits(codes[first:stop], axis=1, count=rule.window_bits).reshape(-1),
                ends[bounds[i] : bounds[i + 1]],
            )
            for i, (first, stop) in enumerate(itertools.pairwise(starts))
        ]

    def _decode_bits(
        self, streams: Sequence[np.ndarray], max_bytes: int | None = None
    ) -> list[tuple[bytes, np.ndarray]]:
        self._probed.check()
        width, every = self._rule.window_bits, self._rule.reset_every
        codes, chains, first_windows = [], [], []
        for bits in streams:
            n_windows = len(bits) // width
            codes.append(bits[: n_windows * width].reshape(n_windows, width))
            step = every or max(n_windows, 1)
            parts = [codes[-1][at : at + step] for at in range(0, n_windows, step)]
            first_windows += range(0, n_windows, step)
            chains.append(parts)
        flat = [chain for parts in chains for chain in parts]
        # A group has a share of the windows, and under the paper's rule reads bytes that belong to
        # the next one.
        most = None if max_bytes is None else 2 * max_bytes * len(streams)
        decode = functools.partial(self._decode_group, max_bytes=most)
        read = shared(decode, flat, [*map(len, flat)], self._model)
        offsets = iter(first_windows)
        results = iter(read)
        texts = []
        for parts in chains:
            found = [(*next(results), next(offsets)) for _ in parts]
            text = b"".join(chain for chain, _, _ in found)
            ends = [chain_ends + first * width for _, chain_ends, first in found]
            texts.append((text, np.concatenate(ends) if ends else np.zeros(0, np.int64)))
        return texts

    def _decode_group(
        self, chains: Sequence[np.ndarray], worker: int, max_bytes: int | None
    ) -> list[tuple[bytes, np.ndarray]]:
        """Return the text of each chain and its `Stream.ends`, from the chain's first bit on."""
        rule, n_lanes = self._rule, self._model.lanes
        codes = np.concatenate(chains)
        bounds = np.cumsum([0, *map(len, chains)], dtype=np.int64)
        lanes = windows.make_lanes(n_lanes, rule, bounds)
        work = windows.make_work(rule)
        lengths = np.zeros(len(codes), np.int64)
        out_N3 = np.zeros((n_lanes, 3), np.int64)
        read, n_read = [], 0

        def advance(probabilities):
            n_bytes, n_active = window_decoder.decode_step(
                probabilities, lanes, rule, codes, bounds, lengths, out_N3, work
            )
            nonlocal n_read
            n_read += n_bytes
            self._check_total(n_read, max_bytes, 1)
            read.append(out_N3[:n_bytes].astype(np.int32))
            return n_active

        run(self._model, worker, lanes.ids, lanes.positions, advance)
        found = np.concatenate(read)
        found = found[np.argsort(found[:, 0], kind="stable")]
        window = found[:, 0]
        order = np.arange(len(window)) - np.searchsorted(window, window)
        found = found[order < lengths[window]]
        starts = np.searchsorted(found[:, 0], bounds)
        texts = []
        for i, (first, stop) in enumerate(itertools.pairwise(starts)):
            window, byte, end = found[first:stop].T
            ends = (window - bounds[i]) * rule.window_bits + end
            texts.append((byte.astype(np.uint8).tobytes(), ends.astype(np.int64)))
        return texts

    def _files(self) -> dict[str, bytes]:
        stated = {**self._options, "model": self._model.kind, "probe": self._probed.digest}
        return {"equal_info.json": json.dumps(stated).encode(), FILE: self._model.to_bytes()}

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        stated = json.loads(files["equal_info.json"])
        model = load_byte_model(stated.pop("model"), files[FILE])
        return cls(model, **stated)


def _name(window_bits, vocab, rule, reset, precision) -> str:
    """Return the literature name, without options that have their default."""
    options = [f"b={window_bits}", f"v={vocab}"]
    options += [f"rule={rule}"] if rule != usual_rule(window_bits, vocab, reset) else []
    options += [f"reset={reset}"] if reset != "every" else []
    options += [f"p={precision}"] if precision != 14 else []
    return f"EqualInfoAC[{','.join(options)}]"


def check_windows(
    name: str, window_bits: int, token_bits: int, rule: str, reset: str, precision: int
) -> None:
    """Raise a ValueError, which begins with `name`, unless every byte can be coded and decoded."""
    if not MIN_WINDOW_BITS <= window_bits <= MAX_WINDOW_BITS:
        raise ValueError(f"{name}: windows have {MIN_WINDOW_BITS} to {MAX_WINDOW_BITS} bits")
    if token_bits > window_bits:
        raise ValueError(f"{name}: a token of {token_bits} bits is longer than a window")
    if rule != "exact" and window_bits < precision + 2:
        raise ValueError(
            f"{name}: a byte may cost up to {precision + 2} bits under the paper's rule; give "
            "longer windows, a smaller precision, or rule=exact"
        )
    if rule != "exact" and reset != "every":
        raise ValueError(
            f"{name}: the paper's rule reads a byte beyond the end of a window, which M1 must "
            "forget: give reset=every, or rule=exact"
        )
