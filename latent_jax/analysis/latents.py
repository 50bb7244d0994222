"""Latents of a trained model: how well they restore text, also when the language model makes them.

`position_sums` shows at which places of a group and of a row bytes are lost. `distortion_sums`
decodes codes that do not come from the encoder. Fifty 2025 reports -log p(x | z_hat) for the
language model's likeliest code after the true ones. Here codes are also drawn, after the true codes
or after drawn ones.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import MaxNLocator

from latent_jax import generation
from latent_jax.analysis.codes import Records, Tables, TrainedRun, score_ids
from latent_jax.analysis.options import RunOptions, seed_option
from latent_jax.bars import counted
from latent_jax.generation import CodeDecoder, Sampling
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig
from latent_jax.reports import panels, style
from latent_jax.reports.latent_figures import short_of
from latent_jax.reports.tables import text_table
from latent_jax.tasks.latent_language import LatentLanguage

COLUMNS = (
    *("name", "beta", "lm_gradient", "seed", "part", "position", "n_bytes"),
    *("reconstruction_bits_per_byte", "reconstruction_accuracy", "codes_returned_share"),
)

BATCH_SIZE = 16

PARTS = {"group": "place in the group of a latent", "row": "sixteenth of the row"}
"""Two ways to group bytes by their place, and their names in pictures."""

PLAIN = Sampling(temperature=1.0, top_k=0, top_p=1.0)
"""Sampling from the model's own distribution."""


@dataclasses.dataclass(frozen=True)
class LatentsOptions(RunOptions):
    """Options of the analysis `latents`."""

    seed: int = seed_option()


def measure(options: LatentsOptions, run: TrainedRun, texts: Sequence[bytes]) -> Tables:
    """Return records of "latents" of three kinds, which differ by "part".

    Records of "group" are for positions in the group of C bytes, those of "row" for sixteenths of
    the row. "codes: encoder" and the like are for the sources of `distortion_sums`.

    Args:
        options: the seed of the drawn codes.
        run: with discrete latents.
        texts: held-out texts.

    Raises:
        ValueError: the run has no codes, or the texts are shorter than a row.
    """
    task = run.task
    if not isinstance(task, LatentLanguage) or task.model_config.language_model is None:
        raise ValueError(f"{run.config.method} has no learned codes: name a run of Latent[...]")
    config, length = task.model_config, run.config.row_length
    key, batches = jax.random.key(options.seed), []
    for number, ids_BT in enumerate(_rows(run, texts, length)):
        batch = (config, run.variables, ids_BT, np.ones(ids_BT.shape, bool))
        batch_key = jax.random.fold_in(key, number)
        batches.append((position_sums(*batch), distortion_sums(*batch, batch_key)))
    if not batches:
        raise ValueError(f"the text fills no row of {length} bytes: name more with --data")
    positions = _total([sums for sums, _ in batches])
    sources = {name: _total([sums[name] for _, sums in batches]) for name in batches[0][1]}
    at, factor = np.arange(length), config.autoencoder.compressor.factor
    records = [
        {"part": part, "position": int(place) + 1, **_scores(positions, place_T == place)}
        for part, place_T in zip(PARTS, (at % factor, at * 16 // length), strict=True)
        for place in np.unique(place_T)
    ]
    records += [
        {
            "part": f"codes: {source}",
            "n_bytes": int(sums["bytes"]),
            "reconstruction_bits_per_byte": sums["nats"] / np.log(2) / sums["bytes"],
            "codes_returned_share": sums["returned"] / sums["codes"],
        }
        for source, sums in sources.items()
    ]
    return {"latents": records}


@jax.jit(static_argnames="config")
def _reconstruct(config: LatentLMConfig, variables, ids_BT, mask_BT):
    output = LatentLanguageModel(config).apply(variables, ids_BT, mask_BT)
    return (*score_ids(output.byte_logits_BTV, ids_BT), output)


def position_sums(
    config: LatentLMConfig, variables: Mapping[str, Any], ids_BT: np.ndarray, mask_BT: np.ndarray
) -> dict[str, np.ndarray]:
    """Return sums over the rows of a batch for every position, float64[T] each.

    Args:
        config: of the model.
        variables: its Flax collections.
        ids_BT: int32, byte ids.
        mask_BT: bool, True where there is a byte.

    Returns:
        "nats", -log p(x_t | z); "hits", the number of right bytes; "count", the number of bytes.
    """
    nats_BT, hits_BT, _ = _reconstruct(config, variables, ids_BT, mask_BT)
    mask_BT = np.asarray(mask_BT)
    return {
        "nats": (np.asarray(nats_BT, np.float64) * mask_BT).sum(axis=0),
        "hits": (np.asarray(hits_BT, np.float64) * mask_BT).sum(axis=0),
        "count": mask_BT.sum(axis=0).astype(np.float64),
    }


def distortion_sums(
    config: LatentLMConfig,
    variables: Mapping[str, Any],
    ids_BT: np.ndarray,
    mask_BT: np.ndarray,
    key: jax.Array,
) -> dict[str, dict[str, float]]:
    """Return how well codes from several sources decode, as sums over a batch, by source.

    Sources:
        encoder     the text's own codes.
        likeliest   at each place, the language model's likeliest code after the text's own codes.
        drawn       at each place, a code drawn from it after the text's own codes.
        written     the first half of each row keeps its codes; the second half is drawn code by
                    code.

    Args:
        config: of the model; its latents are discrete.
        variables: its Flax collections.
        ids_BT: int32, byte ids of whole rows.
        mask_BT: bool, True where there is a byte.
        key: typed, for the drawn codes.

    Returns:
        "nats", -log p(x | codes) of "bytes" bytes: all bytes, but for "written" those of the first
        half, which the decoder reads together with the codes drawn after them. "returned", the
        number of codes that come back when the likeliest bytes are encoded again, out of "codes";
        for "written" only codes of the second half are counted.
    """
    n_rows, length = ids_BT.shape
    factor = config.autoencoder.compressor.factor
    _, _, output = _reconstruct(config, variables, ids_BT, mask_BT)
    codes_BK, mask_BK = output.quantized.codes_BK, output.latents.mask_BK
    n_codes = codes_BK.shape[1]
    half = n_codes // 2
    draw_key, write_key = jax.random.split(key)
    keys = jax.random.split(draw_key, (n_rows, n_codes))
    by_code = jax.vmap(
        lambda k, logits: generation.sample(k, logits, PLAIN), in_axes=(1, 1), out_axes=1
    )
    decoder = CodeDecoder(config)
    lengths_B = np.full(n_rows, half, np.int32)
    lanes = generation.start(decoder, variables, codes_BK[:, :half], lengths_B, n_slots=n_codes + 1)
    keys_B = jax.random.split(write_key, n_rows)
    _, written = generation.draw(decoder, variables, lanes, keys_B, PLAIN, n_codes - half)
    first_half_T = np.arange(length) < half * factor
    second_half_K = np.arange(n_codes) >= half
    sources = {
        "encoder": codes_BK,
        "likeliest": jnp.argmax(output.code_logits_BKV, axis=-1).astype(jnp.int32),
        "drawn": by_code(keys, output.code_logits_BKV),
        "written": jnp.concatenate([codes_BK[:, :half], written.ids_BN], axis=1),
    }
    sums = {}
    for source, codes in sources.items():
        nats_BT, again_BK = _decode_and_encode(config, variables, codes, mask_BK, ids_BT, mask_BT)
        is_written = source == "written"
        scored_BT = np.asarray(mask_BT) & (first_half_T[None] if is_written else True)
        counted_BK = np.asarray(mask_BK) & (second_half_K[None] if is_written else True)
        returned = np.asarray(again_BK == codes) & counted_BK
        sums[source] = {
            "nats": float((np.asarray(nats_BT, np.float64) * scored_BT).sum()),
            "bytes": float(scored_BT.sum()),
            "returned": float(returned.sum()),
            "codes": float(counted_BK.sum()),
        }
    return sums


@jax.jit(static_argnames="config")
def _decode_and_encode(config: LatentLMConfig, variables, codes_BK, mask_BK, ids_BT, mask_BT):
    model = LatentLanguageModel(config)
    logits_BTV = model.apply(
        variables, codes_BK, mask_BK, mask_BT, method=LatentLanguageModel.decode_codes
    )
    likeliest_BT = jnp.argmax(logits_BTV, axis=-1).astype(jnp.int32)
    again_BK, _ = model.apply(
        variables, likeliest_BT, mask_BT, method=LatentLanguageModel.encode_codes
    )
    return score_ids(logits_BTV, ids_BT)[0], again_BK


def _rows(run: TrainedRun, texts: Sequence[bytes], length: int) -> Iterator[np.ndarray]:
    """Yield batches of whole rows, int32[B, T]; a separator follows each text."""
    separator = [np.array([run.tokenizer.separator_id], np.int32)]
    ids = np.concatenate([part for t in texts for part in [run.tokenizer.encode(t), *separator]])
    rows = ids[: len(ids) // length * length].reshape(-1, length)
    n_rows = len(rows) // BATCH_SIZE * BATCH_SIZE or len(rows)
    step = min(BATCH_SIZE, n_rows) or 1
    for first in counted(range(0, n_rows, step), "rows", -(-n_rows // step), "batches"):
        yield rows[first : first + step]


def _total(batches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: sum(batch[name] for batch in batches) for name in batches[0]}


def _scores(sums: dict[str, np.ndarray], at: np.ndarray) -> dict[str, float]:
    count = sums["count"][at].sum()
    return {
        "n_bytes": int(count),
        "reconstruction_bits_per_byte": float(sums["nats"][at].sum() / np.log(2) / count),
        "reconstruction_accuracy": float(sums["hits"][at].sum() / count),
    }


def show(tables: Tables) -> str:
    """Return the table of all runs."""
    return text_table(tables["latents"], COLUMNS)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw the share of wrongly restored bytes by place in the group and in the row."""
    records = _named(tables["latents"])
    with style.house_style():
        figure, all_axes = panels.line_panels(
            "Inside the latent",
            "bytes that come back wrong, by their place",
            ["wrong bytes, %"] * len(PARTS),
            height=4.2,
        )
        figure.subplots_adjust(right=0.7)
        for axes, (part, label) in zip(all_axes, PARTS.items(), strict=True):
            own = [record for record in records if record["part"] == part]
            lines = panels.lines_of(own, "name", "position", "wrong", 100)
            ends = panels.plot_lines(axes, lines, markersize=3.5)
            axes.set_xlabel(label)
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.label_ends(all_axes[-1], ends, size=7)
        return [style.save(figure, folder / "latents.png")]


def _named(records: Records) -> list[dict[str, Any]]:
    """Return the records of places, named by the run's settings, with the share of wrong bytes."""
    has_seeds = len({record.get("seed") for record in records}) > 1
    return [
        {
            **record,
            "name": (short_of(record) if "lm_gradient" in record else record["name"])
            + (f", seed {record['seed']}" if has_seeds else ""),
            "wrong": 1 - record["reconstruction_accuracy"],
        }
        for record in records
        if record["part"] in PARTS
    ]
