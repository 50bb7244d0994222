"""Commands with verbs: which function a verb calls, and which flags it reads."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from latent_jax.command_line import run_command
from latent_jax.nearest import check_word

# So absl counts flags that this module defines for a command as that command's own in --help.
flags.disclaim_key_flags()

Cases = Mapping[str, tuple[Callable[..., Any], Mapping[str, flags.FlagHolder]]]
"""The cases of a command: verb -> (its function, a flag for each argument of the function).

Where a flag changes which other flags a verb reads, the verb has two cases: "generate", and
"generate --workdirs" for calls that give --workdirs. The cases of a command without verbs consist
of flags alone.
"""


def run_verbs(
    cases: Cases,
    takes_files: bool = False,
    is_alone: bool = False,
    takes_texts: Collection[str] = (),
) -> None:
    """Run a command whose first argument is a verb, as `run_command` does.

    A missing or unknown verb, missing files and files that no verb takes end the command with one
    line, as every ValueError does.

    Args:
        cases: the cases of the command.
        takes_files: whether files follow the verb; its function gets them before the flags.
        is_alone: see `run_command`.
        takes_texts: verbs that texts follow in place of files; their functions get strings.
    """

    def main(words: Sequence[str]) -> None:
        if not words:
            raise ValueError(f"write a verb first: {', '.join(_verbs(cases))}")
        verb, *files = words
        check_word("verb", verb, _verbs(cases))
        if verb in takes_texts:
            if not files:
                raise ValueError(f"{verb} needs a text: write it after the verb, in quotes")
            run_case(verb, cases, files)
            return
        if takes_files and not files:
            raise ValueError(f"{verb} needs files: write their paths after it")
        if files and not takes_files:
            raise ValueError(f"unexpected {' '.join(files)!r}: options are written --name=value")
        run_case(verb, cases, *([[Path(file) for file in files]] if takes_files else []))

    name_cases(cases)
    run_command(main, takes_arguments=True, is_alone=is_alone)


def option_cases(function: Callable[[str, Any], Any], options: Mapping[str, type]) -> Cases:
    """Return a case for each verb, with a flag for each field of its options dataclass.

    Args:
        function: takes a verb, and an instance of the verb's dataclass with the flags' values.
        options: verb -> dataclass whose fields are made by `analysis.options.option`. Fields of
            the same name in several dataclasses share one flag.

    Raises:
        ValueError: two verbs have the same flag with different defaults or help texts.
    """
    fields: dict[str, dataclasses.Field] = {}
    for verb, kind in options.items():
        for field in dataclasses.fields(kind):
            first = fields.setdefault(field.name, field)
            if (first.default, first.metadata) != (field.default, field.metadata):
                raise ValueError(
                    f"--{field.name} of {verb} has another default or help than that of a verb "
                    "before it: inherit the field from one class, or give it another name"
                )
    holders = {name: _define(field) for name, field in fields.items()}
    return {
        verb: (
            functools.partial(_call, function, verb, kind),
            {field.name: holders[field.name] for field in dataclasses.fields(kind)},
        )
        for verb, kind in options.items()
    }


def _define(field: dataclasses.Field) -> flags.FlagHolder:
    """Define the flag of a field."""
    said, default = field.metadata, field.default
    if isinstance(default, tuple):
        define = flags.DEFINE_list if said.get("commas") else flags.DEFINE_multi_string
        return define(field.name, [*default], said["help"])
    if isinstance(default, int):
        bound = said.get("lower_bound")
        return flags.DEFINE_integer(field.name, default, said["help"], lower_bound=bound)
    return flags.DEFINE_string(field.name, default, said["help"])


def _call(function: Callable[[str, Any], Any], verb: str, kind: type, **words: Any) -> Any:
    """Call `function` with a verb and an instance of its options dataclass `kind`."""
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in words.items()}
    return function(verb, kind(**given))


def name_cases(cases: Cases) -> None:
    """Put the cases that use a flag before its --help text, unless all cases use it."""
    for flag in {flag.name for _, words in cases.values() for flag in words.values()}:
        users = _users(flag, cases)
        # In its own help text, a flag that makes a case (--workdirs) need not be named again.
        named = [*filter(None, (user.replace(f"--{flag}", "").strip() for user in users))]
        if named and users != _verbs(cases):
            flags.FLAGS[flag].help = f"{', '.join(named)}: {flags.FLAGS[flag].help}"


def run_case(verb: str, cases: Cases, *arguments: Any) -> None:
    """Call the function of the case that verb and flags select, with the values of its flags.

    Args:
        verb: the verb that was given; "" where a command has none.
        cases: the cases of the command.
        *arguments: further arguments, which the function gets before the flags.

    Raises:
        ValueError: a flag was given that this case does not use.
    """
    # Each case of this verb, and the flags that select it.
    own = {case: _flags_of(case) for case in cases if not verb or case.split()[0] == verb}
    holding = [case for case, names in own.items() if all(flags.FLAGS[n].value for n in names)]
    case = max(holding, key=lambda case: len(own[case]))
    function, used = cases[case]
    allowed = {flag.name for flag in used.values()}.union(*own.values())
    for flag in (flag for _, words in cases.values() for flag in words.values()):
        if flag.present and flag.name not in allowed:
            users = ", ".join(_users(flag.name, cases))
            raise ValueError(f"{case} does not use --{flag.name}; it is for: {users}")
    function(*arguments, **{argument: flag.value for argument, flag in used.items()})


def _flags_of(case: str) -> list[str]:
    return [word[2:] for word in case.split() if word.startswith("--")]


def _verbs(cases: Cases) -> list[str]:
    """Return the cases without those that extend another case by one flag."""
    return [case for case in cases if case.rpartition(" ")[0] not in cases]


def _users(flag: str, cases: Cases) -> list[str]:
    """Return the cases that use a flag; if a verb always uses it, the bare verb stands for all."""
    users = [c for c, (_, words) in cases.items() if flag in {f.name for f in words.values()}]
    return [case for case in users if case.rpartition(" ")[0] not in users]
