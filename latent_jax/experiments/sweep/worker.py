"""A worker process, which does jobs one after the other on cores of its own.

It lives as long as its sweep, so that all its jobs share its imports and compiled programs.
"""

import hashlib
import logging
import multiprocessing
import os
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax

from latent_jax.command_line import end_in_order
from latent_jax.experiments.sweep.jobs import encode_cells, train_cell
from latent_jax.experiments.sweep.loading import load_sweep
from latent_jax.kept_programs import programs_folder
from latent_jax.training import keep_memory, share_heap


def work_off(job: dict[str, Any]) -> None:
    """Do one job.

    Args:
        job: "sweep", its NAME:ARGUMENTS; "folder"; "kind", "encode" or "train"; "records" of the
            plan, one for training.
    """
    _, sweep = load_sweep(job["sweep"])
    folder = Path(job["folder"])
    if job["kind"] == "encode":
        encode_cells(sweep, folder, job["records"])
    else:
        train_cell(sweep, folder, *job["records"])


def serve(connection: Connection, folder: str, cores: Sequence[int], log: str) -> None:
    """Receive jobs until None comes; send back None for each that was done, or its error.

    Args:
        connection: to the sweep.
        folder: of the sweep.
        cores: that this process may use; empty = all.
        log: file for what the process prints.
    """
    threading.Thread(target=_follow_parent, daemon=True).start()
    end_in_order()
    _redirect(log)
    if cores and hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, cores)
    if jax.config.jax_num_cpu_devices < 1:
        jax.config.update("jax_num_cpu_devices", 1)
    share_compiled(folder)
    keep_memory()
    share_heap()  # one device on cores of its own: nobody waits for the lock of the heap
    for library in ("absl", "jax", "orbax"):
        logging.getLogger(library).setLevel(logging.ERROR)
    while True:
        job = connection.recv()
        if job is None:
            return
        try:
            work_off(job)
            connection.send(None)
        except ValueError as error:
            traceback.print_exc()
            connection.send(str(error))
        except Exception as error:
            traceback.print_exc()
            connection.send(f"{type(error).__name__}: {error}")


def share_compiled(folder: str | Path) -> Path | None:
    """Let the workers of a sweep share compiled programs, unless the user has set another place.

    Programs are native code, so they lie in the user's cache and not in the folder of the sweep,
    which may come from others.

    Returns:
        Where they are kept; None where nothing was changed.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return None
    name = hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()[:16]
    programs = programs_folder(f"sweeps/{name}")
    if programs is not None:
        jax.config.update("jax_compilation_cache_dir", str(programs))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return programs


def _follow_parent() -> None:
    """End this process when the sweep's process is gone, so that nothing else writes its files."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _redirect(log: str) -> None:
    """Send everything that this process prints to a file."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
