"""The embedded default corpus: the English that every Python installation carries.

It consists of the language reference behind `help()` (pydoc_data.topics), and the docstrings of the
standard library and of the numerical packages that this project needs anyway. Sources are parsed,
never imported, so that no module's side effects run. The text differs between versions of Python
and of packages, and so does the corpus fingerprint.
"""

import ast
import gc
import importlib.util
import inspect
import os
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError

PACKAGES = ("numpy", "scipy", "jax", "flax", "optax")

# Tests and vendored code hold little English. site-packages is skipped because it is inside the
# standard library's folder.
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
    """A source of one document per help topic, and one per module with the module's docstrings.

    A docstring that occurs more than once is kept only at its first place. Packages that are not
    installed are left out.
    """

    def __init__(self, packages: tuple[str, ...] = PACKAGES):
        """Find the files.

        Raises:
            CorpusError: there are none.
        """
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
        """Return name, size and time of every file that is read."""
        files = [(name, path.stat()) for name, path in self._modules]
        return ["python_docs", [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]]

    def documents(self) -> Iterator[Document]:
        """Yield topics and modules by name: those of the standard library, then each package."""
        seen: set[str] = set()
        for name, path in self._modules:
            if name == "pydoc_data.topics":
                texts = _read(path, _topics)
            else:
                new = dict.fromkeys(
                    text for _, text in _read(path, _docstrings) if text not in seen
                )
                seen.update(new)
                texts = [(name, "\n\n".join(new))]
            for key, text in texts:
                if text:
                    yield Document(key, text.encode("utf-8", "surrogatepass"))


def _python_files(root: Path) -> list[Path]:
    """Return the Python files under root, in the same order on every file system."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
        files += [Path(folder) / name for name in names if name.endswith(".py")]
    return sorted(files, key=lambda path: path.relative_to(root).parts)


def _read(
    path: Path, texts: Callable[[ast.Module], Iterator[tuple[str, str]]]
) -> list[tuple[str, str]]:
    """Return the (name, text) pairs of a file; none if this Python version cannot parse it."""
    # Syntax trees have no cycles. A garbage collector that searches them doubles the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in strings of other packages
            return list(texts(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):
        return []
    finally:
        if collecting:
            gc.enable()


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the topics of the dictionary that pydoc_data.topics assigns, by name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for topic, text in sorted(ast.literal_eval(node.value).items()):
                yield f"help.{topic}", text.strip() + "\n"


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (name, docstring) in the order of the file.

    NumPy and SciPy keep the docstrings of compiled functions as the last argument of `add_newdoc`
    calls.
    """
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, _WITH_DOCSTRING):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "name", ""), text
            stack.extend(reversed(node.body))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function, arguments = node.value.func, node.value.args
            if isinstance(function, ast.Name) and function.id == "add_newdoc":
                yield from _strings(arguments[-1:])
        elif isinstance(node, ast.If | ast.Try | ast.With):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _strings(arguments: list[ast.expr]) -> Iterator[tuple[str, str]]:
    """Yield the text of an `add_newdoc` argument: a string, or a tuple of a name and a string."""
    for argument in arguments:
        if isinstance(argument, ast.Tuple):
            yield from _strings(argument.elts[-1:])
        elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield "", inspect.cleandoc(argument.value)
