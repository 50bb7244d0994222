"""The algebra of cells, the refusal of mixed budgets, and every cell of every sweep."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from configs.methods import BEYOND, SIX, SIXTEEN
from latent_jax.contracts import Vocabulary
from latent_jax.experiments.sweep.loading import (
    SWEEPS,
    check_comparable,
    config_of,
    config_words,
    load_sweep,
)
from latent_jax.methods import solve
from latent_jax.methods.cells import Sweep, arguments_of, crossed, name_of, product, where, zipped
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.lester_2024 import DATASETS, published
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import config_batch_spec
from latent_jax.methods.solve import amounts_of_step, solve_shape, solve_steps
from latent_jax.methods.tasks import make_task
from latent_jax.platform import BLOCKS_FROM

TINY = dict(size="100k", budget="tokens:50000")


def test_the_algebra():
    grid = product(method=("Bytes", "GZip[v=256]"), seed=(0, 1))
    assert grid == [
        {"method": "Bytes", "seed": 0},
        {"method": "Bytes", "seed": 1},
        {"method": "GZip[v=256]", "seed": 0},
        {"method": "GZip[v=256]", "seed": 1},
    ]
    assert where(grid, lambda cell: cell["seed"] == 1) == [grid[1], grid[3]]
    pairs = zipped(size=("25m", "113m"), budget=("steps:3", "steps:11"))
    assert pairs == [{"size": "25m", "budget": "steps:3"}, {"size": "113m", "budget": "steps:11"}]
    assert crossed(grid[:1], pairs) == [{**grid[0], **pair} for pair in pairs]
    with pytest.raises(ValueError):
        zipped(size=("25m",), budget=())


def test_a_cell_has_a_name_and_is_a_config_files_arguments():
    cell = {"group": "reset", "method": "AC[v=256]", "seed": 3, "budget": "tokens:1e6"}
    assert arguments_of(cell) == "method=AC[v=256],seed=3,budget=tokens:1e6"
    assert name_of(cell) == "reset-AC_v=256_-seed=3-tokens_1e6"
    assert "/" not in name_of({"method": "a/b c"})
    with pytest.raises(ValueError, match="stand twice in the sweep"):
        Sweep(cells=[{"method": "Bytes"}, {"method": "Bytes"}])
    with pytest.raises(ValueError, match="at least one cell"):
        Sweep(cells=[])


def test_overrides_reach_the_configuration_and_misspelt_ones_are_refused():
    sweep = Sweep(cells=[TINY], overrides={"training.save_every": 7, "batch_size": 2})
    config = config_of(sweep, config_words(sweep, TINY))
    assert (config.training.save_every, config.batch_size) == (7, 2)
    for key in ("training.save_evry", "training.deep.save_every"):
        with pytest.raises(ValueError, match=f"no configuration has the key '{key}'"):
            wrong = Sweep(cells=[TINY], overrides={key: 7})
            config_of(wrong, config_words(wrong, TINY))


def test_a_rule_for_windows_is_stated_in_cells_that_have_windows_and_refused_in_others():
    sweep = Sweep(cells=[TINY], overrides={"window_rule": "paper"})
    windows = config_of(sweep, config_words(sweep, {"method": "EqualInfoAC[b=32,v=256]", **TINY}))
    assert windows.method == "EqualInfoAC[b=32,v=256,rule=paper]"
    with pytest.raises(ValueError, match="Bytes has no windows"):
        config_of(sweep, config_words(sweep, {"method": "Bytes", **TINY}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "bytes:50000"}, "tokens:50000 and .* bytes:50000"),
        ({"budget": "tokens:60000"}, "tokens:50000 and .* tokens:60000"),
        ({"budget": "tokens:60000", "size": "300k"}, ""),
        ({"budget": "tokens:60000", "group": "other"}, ""),
        ({"budget": "bytes:50000", "size": "300k"}, "tokens:50000 and .* bytes:50000"),
        ({"budget": "bytes:50000", "group": "other"}, ""),
    ],
)
def test_mixed_budgets_are_refused(changes, message):
    cells = [{"method": "Bytes", **TINY}, {"method": "GZip[v=256]", **TINY, **changes}]
    sweep = Sweep(cells=cells)
    configs = [config_of(sweep, config_words(sweep, cell)) for cell in cells]
    if not message:
        check_comparable(sweep, configs)
        return
    with pytest.raises(ValueError, match=message):
        check_comparable(sweep, configs)


def test_a_cell_that_is_extended_is_refused():
    sweep = Sweep(cells=[TINY], overrides={"budget.extend": "steps:3"})
    configs = [config_of(sweep, config_words(sweep, TINY))]
    with pytest.raises(ValueError, match=r"has budget\.extend=steps:3: cells of a sweep have one"):
        check_comparable(sweep, configs)


def test_an_unknown_sweep_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"unknown sweep 'labtop' \(did you mean 'laptop'\?\)"):
        load_sweep("labtop")
    with pytest.raises(ValueError, match="unknown config argument 'token'"):
        load_sweep("laptop:token=3")
    path = tmp_path / "mine.py"
    path.write_text(
        "from latent_jax.experiments.sweep.loading import Sweep\n"
        "def get_sweep(arguments):\n"
        "    return Sweep(cells=[{'method': arguments}])\n"
    )
    name, sweep = load_sweep(f"{path}:Bytes")
    assert name == "mine" and sweep.cells == [{"method": "Bytes"}]


def test_the_paper_has_sixteen_methods_and_the_laptop_sweep_seeds_for_six():
    assert len(SIXTEEN) == 16 and len(SIX) == 6 and set(SIX) <= set(SIXTEEN)
    _, laptop = load_sweep("laptop")
    seeds = {
        method: {
            cell["seed"]
            for cell in laptop.cells
            if cell["method"] == method and cell["size"] == "100k"
        }
        for method in SIXTEEN
    }
    assert all(seeds[method] == {0, 1, 2} for method in SIX)
    assert len(laptop.cells) == 2 * (16 + len(BEYOND)) + 2 * 6


def vocabulary_of(method):
    """Return a vocabulary with the paper's ratio where it has one."""
    parsed = parse(method)
    known = family(parsed.family)
    if not known.reads_ids:
        return Vocabulary(257, 256, 1.0)
    size = known.vocab_size(parsed)
    row = DATASETS.get(published(parsed))
    flops = 2.5e6 if known.is_driven(parsed) else 0.0
    assumed = 1.0 if known.ids_are_bytes else 2.5
    return Vocabulary(size, size - 1, row.bytes_per_token if row else assumed, flops)


@pytest.fixture(scope="module")
def counts():
    """Counts of parameters, which a model of many cells needs once."""
    known = {}

    def count(task, row_length):
        key = (str(task.model_config), row_length)
        if key not in known:
            known[key] = count_parameters(task, row_length)
        return known[key]

    return count


@pytest.fixture(scope="module")
def built():
    return set()


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("[a-z]*.py")))
def test_every_cell_builds_and_spends_its_budget(name, counts, built, monkeypatch):
    monkeypatch.setattr(solve, "count_parameters", counts)
    _, sweep = load_sweep(name)
    if sweep.follow_up is not None:
        scores = [{"bits_per_byte": 3.0 - i, "train_flops": 1e12} for i in range(len(sweep.cells))]
        more = sweep.follow_up(scores)
        assert more and sweep.follow_up(scores[::-1]) != more
        sweep = dataclasses.replace(sweep, cells=[*sweep.cells, *more])
    configs = [config_of(sweep, config_words(sweep, cell)) for cell in sweep.cells]
    check_comparable(sweep, configs)
    for config in configs:
        vocabulary = vocabulary_of(config.method)
        config = solve_shape(config, vocabulary)
        task = make_task(config, vocabulary)
        steps, budget = solve_steps(config, task)
        amounts = amounts_of_step(config, task)
        per_step = {**amounts, "flops": task.train_flops(amounts)}[budget.unit]
        assert budget.amount <= steps * per_step * (1 + 1e-9) < budget.amount + 1.1 * per_step
        key = (type(task), structure(task.model_config), config.latent.lm_gradient)
        if key not in built:
            built.add(key)
            _build(task, config_batch_spec(config, 1))


def structure(value):
    """Return what decides the path of tracing: a configuration without its sizes."""
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return type(value), tuple((name, structure(part)) for name, part in fields)
    is_size = isinstance(value, int) and not isinstance(value, bool)
    return value >= BLOCKS_FROM if is_size else value


def _build(task, spec):
    row = {name: jnp.ones(one.shape, one.dtype) for name, one in spec.items()}

    def one_step(key):
        return task.loss(task.init(key, row), row, key, jnp.int32(0), True)

    loss, _ = jax.eval_shape(one_step, jax.random.key(0))
    assert loss.shape == ()
