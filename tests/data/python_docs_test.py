import itertools
import sys
import sysconfig

import pytest

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError
from latent_jax.data.python_docs import PythonDocs

MODULE = '''"""The module."""
raise SystemExit("imported")
class A:
    """A class.

        Indented.
    """
    def f(self):
        """The method."""
        def g():
            "Nested."
if True:
    def h():
        """The module."""
add_newdoc("numpy", "add", ("at", """
    Compiled.
    """))
'''


@pytest.fixture
def fake_python(tmp_path, monkeypatch):
    library = tmp_path / "lib"
    for name, text in {
        "lib/pydoc_data/topics.py": "topics = {'b': 'About b.\\n', 'a': '\\nAbout a.'}",
        "lib/z.py": '"""Zed."""',
        "lib/test/ignored.py": '"""A test."""',
        "lib/broken.py": '"""No Python.""" (',
        "site/pkg/__init__.py": '"""Zed."""',
        "site/pkg/mod.py": MODULE,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(library)})
    monkeypatch.syspath_prepend(tmp_path / "site")
    return library


def test_docstrings_are_parsed_not_imported(fake_python):
    documents = list(PythonDocs(packages=("pkg", "not_installed")).documents())
    module = b"The module.\n\nA class.\n\nIndented.\n\nThe method.\n\nNested.\n\nCompiled."
    assert documents == [
        Document("help.a", b"About a.\n"),
        Document("help.b", b"About b.\n"),
        Document("z", b"Zed."),
        Document("pkg.mod", module),
    ]
    assert "pkg.mod" not in sys.modules


def test_a_python_without_sources(fake_python, monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path / "nowhere")})
    with pytest.raises(CorpusError, match=r"set data\.source='files'"):
        PythonDocs(packages=())


def test_this_python_carries_megabytes_of_english():
    source = PythonDocs(packages=())
    documents = list(source.documents())
    assert documents[:50] == list(itertools.islice(source.documents(), 50))
    assert len(set(documents)) == len(documents) > 300
    text = b" ".join(document.text for document in documents)
    assert len(text) > 1_000_000
    assert text.count(b" the ") > len(text) / 200
