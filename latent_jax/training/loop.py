"""The one training loop. It knows no method: it is given a task, batches and a run folder."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from latent_jax.contracts import Batch, Evaluation, Stream
from latent_jax.platform import Platform
from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.config import OptimizerConfig, TrainingConfig
from latent_jax.training.evaluate import Evaluations
from latent_jax.training.feed import Feed, Spec, check_fields
from latent_jax.training.identity import CheckpointError, run_identity
from latent_jax.training.init_from import (
    borrowed_weights,
    choose_names,
    open_weights,
    take_weights,
    with_copies,
    without_copies,
)
from latent_jax.training.mesh import check_batch, is_primary
from latent_jax.training.optimizer import decay_start, make_schedule
from latent_jax.training.profiler import Profiler, mark_step
from latent_jax.training.recorder import Recorder, nothing_seen
from latent_jax.training.run_files import RunFolder
from latent_jax.training.signals import StopSignal, TrainingInterrupted, name_lost_process
from latent_jax.training.startup import StartUp
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import compile_eval_step, compile_train_step
from latent_jax.training.task_optimizer import optimizer_of


def train(
    task,
    config: TrainingConfig,
    optimizer_config: OptimizerConfig,
    *,
    total_steps: int,
    extension_steps: int = 0,
    train_data: Iterator[Batch] | Stream,
    evaluations: Sequence[Evaluation],
    run_folder: RunFolder,
    mesh: Mesh,
    tokenizer_fingerprint: str,
    data_workers: int = 0,
    on_evaluation: Callable[[int, Mapping[str, Any], dict[str, Any]], None] | None = None,
    batch_spec: Spec | None = None,
    startup: StartUp | None = None,
) -> dict[str, Any]:
    """Train until `total_steps`, from the last checkpoint if the run folder has one.

    The run ends earlier if its last `config.patience` evaluations were no better than the best one
    before them.

    Args:
        task: see `latent_jax.contracts.Task`.
        config: when to evaluate, save and log, and how to lay the work over devices.
        optimizer_config: the optimizer and its schedule.
        total_steps: optimizer steps of the whole run, those before a resume included.
        extension_steps: how many of them were added to the planned run; `make_schedule` says which
            learning rates they get.
        train_data: endless iterator of batches with `get_state` and `set_state` (Grain), or a
            `Stream`; numpy arrays with the rows of this process, or global arrays on the mesh. It
            is closed at the end.
        evaluations: what the run is scored on; the first is always due and has the headline metric.
        run_folder: from `open_run_folder`.
        mesh: from `make_mesh` of the same strategy.
        tokenizer_fingerprint: of the tokenizer that made the batches; a resume with another is
            refused.
        data_workers: Grain worker processes; a resume with another number is refused.
        on_evaluation: called with (step, variables, validation record) after each evaluation, for
            example to write samples; its time does not count as training.
        batch_spec: shapes and dtypes of a global batch, for training and for evaluation; None reads
            the first batch before anything is compiled.
        startup: the seconds that the start has taken so far; None begins to count now. They are
            printed after the first step, and kept in environment.json.

    Returns:
        The last validation record.

    Raises:
        ValueError: the mesh does not divide the batch, a metric is not finite, and the like.
        CheckpointError: a checkpoint cannot be written or does not fit this run.
        DataError: the training data ended or broke.
        NonFiniteError: training diverged; the message names the step and the last good checkpoint.
        LostProcessError: a step failed in a run of several processes, as when another one died.
        RunFolderError: another process writes into the run folder.
        TrainingInterrupted: (a SystemExit) after SIGTERM or Ctrl-C, once all is saved.
    """
    startup, platform = startup or StartUp(), Platform.current()
    step = None  # finished steps; None until the run has a state
    with contextlib.ExitStack() as opened, name_lost_process(lambda: step):
        # Ends Grain's worker processes, which would otherwise keep their shared memory.
        opened.callback(getattr(train_data, "close", lambda: None))
        opened.enter_context(run_folder.hold())
        feed = Feed(train_data, mesh, batch_spec)
        check_fields(task, feed.spec)
        batch_size, row_length = feed.spec["weights"].shape
        check_batch(mesh, batch_size, config.accumulation)
        optimizer = optimizer_of(task, feed.spec, optimizer_config, total_steps, extension_steps)
        init = initial_state(task, optimizer, feed.spec, config.seed)
        abstract = abstract_state(init, mesh, config.strategy)
        compile_steps = functools.partial(
            startup.compile,  # in threads
            1 if platform.works_beside_host else 2,
            train_step=lambda: compile_train_step(
                task, optimizer, abstract, feed.spec, config.accumulation, mesh
            ),
            evaluation_step=lambda: compile_eval_step(task, abstract.variables, feed.spec, mesh),
        )
        # The checkpoint before the decay is kept: an extension can resume from it as if the run had
        # been planned for the larger budget.
        before_decay = decay_start(optimizer_config, total_steps)
        checkpoints = opened.enter_context(
            Checkpoints(run_folder.checkpoints, config.keep_latest, config.keep_best, before_decay)
        )
        identity = run_identity(
            task,
            abstract.params,
            batch_size=batch_size,
            row_length=row_length,
            tokenizer_fingerprint=tokenizer_fingerprint,
            data_workers=data_workers,
        )

        # Restore, or draw and initialize. Nothing is overwritten before a checkpoint has proved
        # good: it is checked and loaded, then data, counters and clock go to its step, and at last
        # the recorder cuts off the records of metrics.jsonl after that step.
        origin, borrowed = {}, {}
        if not checkpoints.is_empty:
            restored = checkpoints.restore(abstract, identity, config.restore_step)
            state, saved = restored.state, restored.metadata
            feed.set_state(restored.data_state)
            # Only now: a checkpoint of another run is refused without waiting for a compiler.
            programs = compile_steps()
        else:
            if config.restore_step >= 0:
                raise CheckpointError(
                    f"training.restore_step={config.restore_step}, and there is no checkpoint in "
                    f"{run_folder.checkpoints} yet: leave it at -1, or begin with weights of "
                    "another run by training.init_from"
                )
            programs = compile_steps()
            state, saved = create_state(init, abstract), nothing_seen(task)
            if config.init_from:
                weights = open_weights(config.init_from, mesh)
                own = without_copies(task, abstract.variables)
                names = choose_names(weights, own, config.init_patterns)
                taken = take_weights(state.variables, weights, names)
                state = state.with_variables(with_copies(task, taken))
                origin = {"init_from": weights.source, "taken": names}
            for weights, names in borrowed_weights(task, abstract.variables, mesh):
                state = state.with_variables(take_weights(state.variables, weights, names))
                borrowed.setdefault("borrowed", {})[weights.source] = len(names)
        step = first_step = saved_step = int(state.step)
        evaluated_step = saved["evaluated_step"]
        recorder = opened.enter_context(
            Recorder(
                task,
                config,
                run_folder,
                checkpoints,
                mesh,
                learning_rate=make_schedule(optimizer_config, total_steps, extension_steps),
                measured=feed.measured,
                total_steps=total_steps,
                step=step,
                saved=saved,
            )
        )
        n_traced = config.profile if is_primary() else 0
        profiler = Profiler(run_folder.profile, n_traced, step, total_steps)
        opened.callback(profiler.close)
        if step and is_primary():
            recorder.say(f"resumed from step {step} in {run_folder.checkpoints}")
        if origin and is_primary():
            recorder.say(f"{len(origin['taken'])} arrays taken from {origin['init_from']}")
        for source, n_arrays in borrowed.get("borrowed", {}).items() if is_primary() else ():
            recorder.say(f"{n_arrays} frozen arrays taken from {source}")
        startup.mark("restore" if step else "state")
        train_step = programs["train_step"].result()
        evaluate = Evaluations(evaluations, task, mesh, programs["evaluation_step"])
        if not platform.works_beside_host:
            # Compilation beside them would slow the first steps, whose speed is measured too. On a
            # chip, XLA may choose other kernels for evaluation if it times them during training.
            programs["evaluation_step"].result()
        startup.mark("waiting for programs")

        def evaluated() -> dict[str, Any]:
            """What a checkpoint keeps of the evaluations before it."""
            return {"evaluated_step": evaluated_step, **recorder.counters}

        def metric() -> float | None:
            is_ranked = evaluated_step == step and config.keep_best > 0
            return recorder.best_metric() if is_ranked else None

        def is_finished() -> bool:
            return step >= total_steps or recorder.is_stuck

        def is_due(every: int, last: int) -> bool:
            if step in (0, last):
                return False
            return is_finished() or (every > 0 and step % every == 0)

        if not is_finished():
            feed.read_ahead()
        startup.mark("first batch")

        # The order is fixed: evaluate -> save -> next batch -> step. So a saved data iterator
        # stands before the batch that the saved weights have not seen, and the metric of a
        # checkpoint is that of its weights.
        stop, milestones = opened.enter_context(StopSignal()), getattr(task, "milestones", {})
        recorder.chrono.start()
        while True:
            stopping = stop.agreed()
            if is_due(config.eval_every, evaluated_step) and not stopping:
                recorder.read_step()
                with recorder.chrono.pause():
                    turn = step // max(config.eval_every, 1)
                    found = evaluate(state.variables, turn, is_finished(), stop.agreed)
                    stopping = found is None
                    if not stopping:
                        recorder.add_evaluation(step, found)
                        evaluated_step = step
                        if step == saved_step:  # by a signal, before it was evaluated
                            run_folder.check_held()
                            checkpoints.add_evaluation(step, evaluated(), metric())
                        if on_evaluation is not None:
                            on_evaluation(step, state.variables, recorder.validation)

            if is_due(config.save_every, saved_step) or stopping or step == before_decay:
                recorder.read_step()
                recorder.end_window(step)
                if step != saved_step:
                    with recorder.chrono.pause():
                        run_folder.check_held()
                        recorder.flush()  # first: a resume must find the records before its step
                        checkpoints.save(
                            state,
                            feed.get_state(),
                            {"identity": identity, **evaluated()},
                            metric(),
                        )
                        saved_step = step

            if stopping:
                checkpoints.wait()
                where = f"saved in {checkpoints.folder}" if step else "there is nothing to save yet"
                recorder.say(
                    f"stopped at step {step} of {total_steps}; {where}. The same command goes on "
                    "from here"
                )
                raise TrainingInterrupted(128 + stop.signal)
            if is_finished():
                break

            batch = feed.next(step, state)
            profiler.before(step, state)
            with mark_step(step + 1), jax.transfer_guard("disallow"):
                state, metrics = train_step(state, batch)
            step += 1
            profiler.after(step, state)
            evaluate.check()

            # Read one step late: the device computes this step while the host reads the one before.
            recorder.add_step(step, metrics)
            if step == first_step + 1:
                recorder.end_startup(startup, origin | borrowed)
            if step in milestones and is_primary():
                recorder.say(f"step {step}/{total_steps}: {milestones[step]}")
            checkpoints.poll()
        checkpoints.wait()
        if step < total_steps and is_primary():
            recorder.say(recorder.describe_early_stop())
        return recorder.validation
