"""The embedded default corpus: the English that every Python installation carries.

The language reference behind `help()` (pydoc_data.topics) and the docstrings of the standard
library and of the numerical packages that this project needs anyway. Sources are parsed, never
imported, so that no module's side effects run. The text differs between Python and package
versions; the corpus fingerprint tells.
"""

import ast
import importlib.util
import inspect
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_jax.data.documents import CorpusError, Document

PACKAGES = ("numpy", "scipy", "jax", "flax", "optax")

# Tests and vendored code say little in English; site-packages lies inside the standard library's
# folder.
_SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__",
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "_vendor",
        "ensurepip",
    }
)
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class PythonDocs:
    """Source of one document per help topic and one per module: its docstrings in the order of the file.

    A docstring that occurs more than once is kept where it comes first. Packages that are not
    installed are left out.
    """

    def __init__(self, packages: tuple[str, ...] = PACKAGES):
        """Finds the files; raises CorpusError where there are none."""
        standard_library = Path(sysconfig.get_paths()["stdlib"])
        roots = [("", standard_library)]
        for package in packages:
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                roots.append((f"{package}.", Path(spec.submodule_search_locations[0])))
        self._modules = [
            (prefix + ".".join(path.relative_to(root).with_suffix("").parts), path)
            for prefix, root in roots
            for path in _python_files(root)
        ]
        if not self._modules:
            raise CorpusError(
                f"python_docs found no Python sources under {standard_library}: this Python "
                "carries compiled modules "
                "only; set data.source='files' and data.files to text of your own."
            )

    def stamp(self) -> Any:
        """Returns name, size and time of every file that is read."""
        files = [(name, path.stat()) for name, path in self._modules]
        return ["python_docs", [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]]

    def documents(self) -> Iterator[Document]:
        """Yields the help topics by name, then the modules: standard library first, each package by path."""
        seen: set[str] = set()
        for name, path in self._modules:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                    tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):  # written for another Python, or not text at all
                continue
            if name == "pydoc_data.topics":
                for topic, text in sorted(_topics(tree).items()):
                    yield Document(f"help.{topic}", text.encode("utf-8", "surrogatepass"))
                continue
            texts = []
            for text in _docstrings(tree):
                if text and text not in seen:
                    seen.add(text)
                    texts.append(text)
            if texts:
                yield Document(name, "\n\n".join(texts).encode("utf-8", "surrogatepass"))


def _python_files(root: Path) -> list[Path]:
    """Returns the sources under root, in an order that is the same on every file system."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
        files += [Path(folder) / name for name in names if name.endswith(".py")]
    return sorted(files, key=lambda path: path.relative_to(root).parts)


def _topics(tree: ast.Module) -> dict[str, str]:
    """Returns the dictionary that pydoc_data.topics assigns."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            return {
                topic: text.strip() + "\n" for topic, text in ast.literal_eval(node.value).items()
            }
    return {}


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Yields the docstrings of a module, parents before children, siblings in the order of the file.

    NumPy and SciPy keep the docstrings of compiled functions as the last argument of `add_newdoc`
    calls.
    """
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, _WITH_DOCSTRING):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield inspect.cleandoc(text)
            stack.extend(reversed(node.body))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if isinstance(call.func, ast.Name) and call.func.id == "add_newdoc":
                yield from _strings(call.args[-1:])
        elif isinstance(node, ast.If | ast.Try | ast.With):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _strings(arguments: list[ast.expr]) -> Iterator[str]:
    """Yields the texts of an `add_newdoc` argument: a string, or a tuple of a name and a string."""
    for argument in arguments:
        if isinstance(argument, ast.Tuple):
            yield from _strings(argument.elts[-1:])
        elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield inspect.cleandoc(argument.value)
