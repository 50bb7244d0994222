"""Values that depend on the tokenizer's ratio: row length, width of the model, optimizer steps."""

from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.layers.config import WIDEST
from latent_jax.methods import budget as budgets
from latent_jax.methods.budget import Budget
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.tasks import make_task

ROW_MULTIPLE = 8
"""A row length that is solved from a context in bytes is a multiple of this."""


def solve_shape(config: ConfigDict, vocabulary: Vocabulary) -> ConfigDict:
    """Return a copy of a configuration with row length, width and open options of its name solved.

    `context_bytes` sets `row_length`: the ids that stand for so many raw bytes on average.
    `inference_flops_per_byte` sets the width of the language model: the widest whose forward pass,
    M1 included, costs no more. Widths are whole heads of the size that the configuration has; with
    `inference_fit="d_ff"` the feed-forward parts are then made as wide as the rest allows.
    Open options are those of `Family.settled`; the solved ones stand in the method and in the name.

    Args:
        config: where one of the two keys is set, it is of a language model over a tokenizer's ids.
        vocabulary: with the measured bytes per token.

    Raises:
        ValueError: the method is a latent one, or even the narrowest width costs too much.
    """
    solved = ConfigDict(config.to_dict())
    _solve_size(solved, vocabulary)
    method = parse(solved.method)
    settled = family(method.family).settled(method, solved, vocabulary)
    if settled.options != method.options:
        solved.name = solved.name.replace(solved.method, str(settled))
        solved.method = str(settled)
    return solved


def _solve_size(solved: ConfigDict, vocabulary: Vocabulary) -> None:
    """Set the row length and the width that are asked for."""
    if not (solved.context_bytes or solved.inference_flops_per_byte):
        return
    if not family(parse(solved.method).family).reads_ids:
        raise ValueError(
            f"context_bytes and inference_flops_per_byte fit a language model over a tokenizer's "
            f"ids; leave them 0 for {solved.method}"
        )
    if solved.context_bytes:
        n_ids = solved.context_bytes / vocabulary.bytes_per_token
        solved.row_length = max(ROW_MULTIPLE, round(n_ids / ROW_MULTIPLE) * ROW_MULTIPLE)
    if solved.inference_flops_per_byte:
        _fit_width(solved, vocabulary)
        if solved.inference_fit == "d_ff":
            _fit_feed_forward(solved, vocabulary)


def _fit_feed_forward(config: ConfigDict, vocabulary: Vocabulary) -> None:
    """Set the widest `model.d_ff` that costs at most `config.inference_flops_per_byte`."""
    model, target = config.model, config.inference_flops_per_byte

    def costs_too_much(d_ff):
        model.d_ff = d_ff
        task = make_task(config, vocabulary)
        return task.flops_per_byte + vocabulary.flops_per_byte > target

    fits = model.d_ff or 4 * model.d_model  # what 0 stands for
    beyond = 2 * fits
    while not costs_too_much(beyond):
        if beyond > WIDEST:
            raise ValueError(
                f"inference_flops_per_byte={target:.3g} allows a model.d_ff beyond {WIDEST} in "
                f"{config.method}: lower it, or use more layers than {model.n_layers}"
            )
        fits, beyond = beyond, 2 * beyond
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        fits, beyond = (fits, middle) if costs_too_much(middle) else (middle, beyond)
    model.d_ff = fits


def _fit_width(config: ConfigDict, vocabulary: Vocabulary) -> None:
    """Set the widest model that costs at most `config.inference_flops_per_byte`."""
    model, target = config.model, config.inference_flops_per_byte
    head_size, forward = model.d_model // model.n_heads, model.d_ff / model.d_model
    fitted, step, cost = 0, model.n_kv_heads or 1, -1.0
    while (fitted + step) * head_size <= WIDEST:
        n_heads = fitted + step
        model.update(d_model=n_heads * head_size, n_heads=n_heads)
        model.d_ff = round(forward * model.d_model)
        task = make_task(config, vocabulary)
        cost, before = task.flops_per_byte + vocabulary.flops_per_byte, cost
        if cost <= before:
            raise ValueError(
                f"{config.method} costs {cost:.3g} FLOPs per byte at any width, so "
                f"inference_flops_per_byte={target:.3g} cannot choose one: leave it 0"
            )
        if cost > target:
            break
        fitted = n_heads
    else:
        raise ValueError(
            f"inference_flops_per_byte={target:.3g} allows a model.d_model beyond {WIDEST}: lower "
            f"it, or use more layers than {model.n_layers}"
        )
    if not fitted:
        raise ValueError(
            f"{config.method} costs at least {cost:.3g} FLOPs per byte at width {step * head_size} "
            f"with {model.n_layers} layers, {vocabulary.flops_per_byte:.3g} of them for M1: "
            f"raise inference_flops_per_byte={target:.3g}, or use fewer layers"
        )
    model.update(d_model=fitted * head_size, n_heads=fitted)
    model.d_ff = round(forward * model.d_model)


def budget_of(config: ConfigDict) -> Budget:
    """Return the budget of a configuration, before any text is read.

    Raises:
        ValueError: none or several are set, or its method does not count the unit, or that of
            `budget.extend`.
    """
    counted = family(parse(config.method).family).amounts
    for key in ("extend", "other"):
        if config.budget[key]:
            try:
                budgets.parse(config.budget[key], counted)
            except ValueError as error:
                raise ValueError(f"budget.{key}: {error}") from error
    return budgets.from_config(config.budget, counted)


def amounts_of_step(config: ConfigDict, task: Task) -> dict[str, float]:
    """Return what a step is worth on average in each unit that the task counts."""
    n_positions = config.batch_size * config.row_length
    return {unit: n_positions * worth for unit, worth in task.amounts.items()}


def solve_steps(config: ConfigDict, task: Task) -> tuple[int, Budget]:
    """Return the optimizer steps that spend the budget of a solved configuration, and the budget.

    Args:
        config: solved, see `solve_shape`.
        task: of the configuration.

    Raises:
        ValueError: see `budget_of`; or all steps would be warm-up.
    """
    budget = budget_of(config)
    steps = budget.steps(*_costs(config, task))
    warmup = config.optimizer.warmup_steps
    if warmup >= steps:
        raise ValueError(
            f"{steps} step{'s are' if steps > 1 else ' is'} not more than optimizer.warmup_steps="
            f"{warmup}: lower it, such as --config.optimizer.warmup_steps={steps // 10}, or raise "
            f"the budget, {budget.unit}={budget.amount:g}"
        )
    return steps, budget


def solve_extension(config: ConfigDict, task: Task) -> int:
    """Return the optimizer steps that `budget.extend` adds to those of `solve_steps`.

    If budget and extension have the same unit, the run has as many steps as a budget of their sum
    gives. The arguments are those of `solve_steps`.

    Raises:
        ValueError: the extension is not written as UNIT:AMOUNT.
    """
    if not config.budget.extend:
        return 0
    budget = budget_of(config)
    extension = budgets.parse(config.budget.extend, tuple(task.amounts))
    costs = _costs(config, task)
    if extension.unit != budget.unit:
        return extension.steps(*costs)
    whole = Budget(budget.amount + extension.amount, budget.unit)
    return whole.steps(*costs) - budget.steps(*costs)


def _costs(config: ConfigDict, task: Task) -> tuple[dict[str, float], float, int]:
    """Return the arguments of `Budget.steps`."""
    counts = count_parameters(task, config.row_length)
    n_parameters = counts["n_parameters"] - counts["n_embedding_parameters"]
    amounts = amounts_of_step(config, task)
    return amounts, task.train_flops(amounts), n_parameters
