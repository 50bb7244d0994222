"""Commands of launch/ as tests run them: each in a process of its own, which need not import JAX.

A process that has imported what commands need is forked for each of them. That saves some seconds
of imports a command, and the minutes that they add up to.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]

WORDS = {
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
    # The same bits come only from the same program, see tests/conftest.py.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}

PRELOAD = (
    "tests.launching",
    "latent_jax.commands.analyze",
    "latent_jax.experiments.evaluate",
    "latent_jax.commands.generate",
    "latent_jax.experiments.run",
    "latent_jax.experiments.study",
)


def environment() -> dict[str, str]:
    """Return what commands of tests run under."""
    return {**os.environ, **WORDS}


def launch(script, *arguments, cwd=ROOT, timeout=600) -> subprocess.CompletedProcess:
    """Run launch/SCRIPT with arguments and return its status and what it wrote."""
    words = [str(ROOT / "launch" / script), *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        process = _server().Process(target=_run, args=(words, str(cwd), folder, environment()))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout)
        out, err = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, process.exitcode, out, err)


def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    with mock.patch.dict(os.environ, WORDS):  # JAX reads them when it is imported
        multiprocessing.forkserver.ensure_running()
    return context


def _run(words, cwd, folder, environment):
    """Become the command."""
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(file, number)
    os.chdir(cwd)
    sys.argv = words
    sys.path.insert(0, os.path.dirname(words[0]))
    status = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
