"""Code that all commands share: the path of config files, parsing, signals and one-line errors."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import config_flags

import latent_jax
from latent_jax.flag_values import check_local, check_values
from latent_jax.interrupts import keep_handler
from latent_jax.spelling import one_line
from latent_jax.system_errors import describe_os_error, first_line, is_out_of_memory

# Config files contain `from configs import common`, which must work from every working directory.
sys.path.insert(0, str(Path(latent_jax.__file__).parents[1]))

TRY_AGAIN = os.EX_TEMPFAIL
"""Exit status 75: the command itself did nothing wrong, and launch/tpu_vm.sh may start it again."""


def end_in_order() -> None:
    """Make SIGTERM a SystemExit from now on, so that `with` blocks close what they opened.

    Processes for data would else leave shared memory behind. The second SIGTERM ends the process at
    once. In a run of several processes JAX's preemption service, which starts later, takes it over.
    SIGHUP, which a terminal sends when it is closed, is passed on as SIGTERM unless it is ignored,
    as under nohup.
    """

    def leave(kind, frame):
        del frame
        signal.signal(kind, signal.SIG_DFL)
        raise SystemExit(128 + kind)

    def hang_up(kind, frame):
        del kind, frame
        os.kill(os.getpid(), signal.SIGTERM)

    keep_handler(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, hang_up)


def run_command(
    main: Callable[..., Any],
    takes_arguments: bool = False,
    may_be_remote: Collection[str] = (),
    is_alone: bool = False,
) -> None:
    """Parse the flags, join a distributed run if there is one, and run `main`.

    Every error that this project raises on purpose is a ValueError whose message names the thing
    and the way out. Its message is printed and the exit status is 2. If another process of the run
    is gone, the exit status is `TRY_AGAIN`. What the system refuses, such as a file, a full disk or
    memory, is one line too. Ctrl-C ends with status 130. Any other exception is a bug and keeps its
    traceback.

    Args:
        main: takes the list of arguments that are not flags if `takes_arguments`, else nothing.
        takes_arguments: whether the command line may have arguments that are not flags.
        may_be_remote: names of flags whose folder may lie in a bucket (gs://). A bucket in any
            other flag is refused, because `pathlib` would make a local folder of that name.
        is_alone: whether the command never takes part in a distributed run. Such a command may not
            need JAX, which takes seconds to import.
    """

    def body(arguments: Sequence[str]) -> None:
        end_in_order()
        join, lost = (_do_nothing, ()) if is_alone else _training()
        _show_own_messages()
        if arguments[1:] and not takes_arguments:
            _fail(f"unexpected {' '.join(arguments[1:])!r}: options are written --name=value")
        try:
            check_local(arguments[1:], may_be_remote)
            check_values()
            join()
            main(arguments[1:]) if takes_arguments else main()
            sys.stdout.flush()
        except lost as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(TRY_AGAIN)  # an orderly end waits for all processes
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:  # whoever read the output has enough
            _leave_output()
            sys.exit(128 + signal.SIGPIPE)
        except ValueError as error:
            _fail(str(error))
        except OSError as error:
            _leave_output()
            _fail(one_line(describe_os_error(error)))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _fail(
                f"there is not enough memory: {first_line(error)}. Take a smaller batch, shorter "
                "rows or a smaller model, or read less text"
            )

    app.run(body, flags_parser=_parse_flags)


def _do_nothing() -> None:
    pass


def _training() -> tuple[Callable[[], None], type[Exception]]:
    """Return what a run does first, and the error that says that another process is gone."""
    from latent_jax import training

    def join():
        training.keep_memory()
        training.initialize_distributed()

    return join, training.LostProcessError


def changed_words(flag: str) -> dict[str, Any]:
    """Return the config keys that the command line set: dotted key -> value.

    Args:
        flag: name of the config flag, without dashes.
    """
    return dict(config_flags.get_override_values(flags.FLAGS[flag]))


def _parse_flags(arguments: Sequence[str]) -> Sequence[str]:
    """Parse flags; print one line if a flag, a config file or a config key is wrong."""
    try:
        return _parsed(arguments)
    except SystemExit as end:  # absl ends a help text with 1
        asks = any(re.fullmatch(r"--?help(short|full|xml)?(=.*)?|-\?", word) for word in arguments)
        sys.exit(0 if asks else end.code)
    except BrokenPipeError:  # such as of  --help | head
        _leave_output()
        sys.exit(128 + signal.SIGPIPE)
    except SyntaxError as error:
        _fail(f"{error.filename}, line {error.lineno}, is no Python: {error.msg}")
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        text = str(error.args[0]) if error.args else str(error)
        # absl wraps the error of a config file in the traceback of loading it.
        inner = re.findall(r"^\s*[\w.]*Error: (.+)$", text, flags=re.MULTILINE)
        missing = re.search(r"No such file or directory: \\?'([^'\\]+)", text)
        if missing and not inner:
            _fail(f"there is no config file {missing[1]}; they are in configs/")
        text = inner[-1] if inner else text
        # ml_collections raises a KeyError, whose text is in quotes.
        text = text[1:-1] if re.fullmatch(r"'.*'", text, flags=re.DOTALL) else text
        if isinstance(error, AttributeError | KeyError) and re.fullmatch(r"[\w.'\"]+", text):
            key = text.strip("'\"")
            text = (
                f"the config has no key {key!r}; a config of several runs has the keys of each as "
                "runs.NAME.KEY, and --print_config lists all"
            )
        _fail(" ".join(text.replace("\\n", " ").replace("\\'", "'").split()))


def _parsed(arguments: Sequence[str]) -> Sequence[str]:
    rest = flags.FLAGS(arguments)
    for name in flags.FLAGS:
        # absl reports a missing config file only when a key is read from it.
        getattr(flags.FLAGS[name].value, "name", None)
    return rest


def _leave_output() -> None:
    """Let Python's own last flush write to nowhere, or it would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_own_messages() -> None:
    """Print this package's log messages from INFO on, those of libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_OwnLines())
    ours = logging.getLogger(latent_jax.__name__)
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
    for library in ("absl", "jax"):
        logging.getLogger(library).setLevel(logging.WARNING)


class _OwnLines(logging.Formatter):
    """Messages, in which names of others move no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """Return what a record says; see `logging.Formatter`."""
        return _spelled(super().format(record))


def _spelled(message: str) -> str:
    """Return a message, a few of which have several lines, without codes that steer a terminal."""
    return "\n".join(map(one_line, message.split("\n")))


def _fail(message: str) -> None:
    print(f"error: {_spelled(message)}", file=sys.stderr)
    sys.exit(2)
