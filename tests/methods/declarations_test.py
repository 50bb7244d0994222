"""A file that registers half a method, or declares one wrongly, ends in one line that names it."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latent_jax.chunking.fixed import registry as compressors
from latent_jax.methods import registry
from latent_jax.methods.family import Option
from latent_jax.ranges import at_least
from latent_jax.registration import RegistrationError, import_all
from tests.package_links import link_package

ROOT = Path(__file__).parents[2]

FAMILY = '''
from latent_jax.methods.family import Family, Option
from latent_jax.methods.registry import register
from latent_jax.methods.text_code import TextCode

@register
class Half(TextCode):
    """Declared in a test."""
    name, example, summary = "Half", "Half[n=2]", "a family of a test"
    options = {"n": Option("a size")}
    def vocab_size(self, method):
        return 2
    def make_code(self, method, sources):
        return None
'''

COMPRESSOR = """
import dataclasses
from latent_jax.chunking.fixed.base import CompressorConfig
from latent_jax.chunking.fixed.registry import register

@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class HalfConfig(CompressorConfig):
    kind = "half"
    is_causal = True, True
    taps: int = 2
    def compressor(self):
        return None
    def decompressor(self):
        return None
    def forward_flops(self, length):
        return {}
"""


GOOD_FLOPS = "return dict(compress=0.0, decompress=0.0)"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))
    monkeypatch.setattr(compressors, "_KINDS", dict(compressors._KINDS))


@pytest.fixture
def import_file(tmp_path, monkeypatch):
    """Return a function that imports a folder with one file."""
    package = f"made_up_{tmp_path.name}"
    (tmp_path / package).mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def run(code):
        (tmp_path / package / "half.py").write_text(code)
        importlib.invalidate_caches()
        import_all(package)

    yield run
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def test_what_the_cases_change_is_whole(import_file):
    import_file(FAMILY)
    assert "Half" in registry._FAMILIES


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"n": Option("a size")}', '{"n": "bytes"}', r"have an Option\(...\) for 'n'"),
        ('{"n": Option("a size")}', "[]", r"be a dict of name: Option.*got \[\] .list"),
        ('{"n": Opt', '{"n,": Opt', "options must have words as names, and not 'n,'"),
        ('"a size"', '"a size", ("x", "y"), "z"', "line 10: .*Option.* default 'z'; known: x"),
        ('"a size"', '"a size", default=-1', "must be at least 1; got -1"),
        ('"a size"', '"a size", default=2.5', "default must be a whole number at least 1; got 2.5"),
        ('"a size"', '"", default=2', "meaning must say"),
        ('"a size"', '"a size", numbers=(1, 2)', "numbers must be a range of latent_jax/ranges.py"),
        ("@register", "@register()", "line 6: TypeError: @register, without brackets"),
        ('"Half[n=2]"', '""', "'Half' in .*half.py lacks example"),
        ('"Half[n=2]"', '"Whole[n=2]"', "example must be a name of Half; got 'Whole"),
        ('"Half[n=2]"', "5", "example must be text; got 5"),
        ('"Half"', '"half-way"', "'half-way' cannot be the name of a family"),
        ('"a family of a test"', '"two\\nlines"', "summary must be one line"),
        ("    options", "    rank = 'first'\n    options", "rank must be a number; got 'first'"),
        ("    options", "    colour = 1.5\n    options", "colour must be the number of a colour"),
        ("    options", "    amounts = 'bytes'\n    options", "amounts must be a tuple of units"),
        ("    options", "    learns_code = 1\n    options", "learns_code must be True or False"),
        ("    options", "    check = 1\n    options", "check must be a method"),
        ("    def vocab_size", "    def n_ids", r"lacks vocab_size\(\)"),
        ("import Family, Option", "import Family, Options", "line 2: ImportError: cannot import"),
        ("import Family, Option", "import Family Option", "line 2: SyntaxError"),
        ("from latent_jax.methods.family", "import no_such_module\nfrom latent_jax.methods.family",
         "line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("class Half(TextCode):", "class Half:", "stands above a class that extends Family"),
    ],
)  # fmt: skip
def test_a_family_that_is_misdeclared_is_one_line(old, new, message, import_file):
    check_refused(FAMILY, old, new, message, import_file)
    assert "Half" not in registry._FAMILIES


def check_refused(code, old, new, message, import_file):
    """Import code with one thing replaced; the error is a line that names the file."""
    assert old in code
    with pytest.raises(RegistrationError, match=message) as error:
        import_file(code.replace(old, new, 1))
    said = str(error.value)
    assert "half.py" in said and "\n" not in said and "mend it, or move it away" in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@register", "@register()", "line 6: TypeError: @register, without brackets"),
        ("class HalfConfig(CompressorConfig)", "class HalfConfig", "extends CompressorConfig"),
        ('kind = "half"', "", "HalfConfig in .*half.py lacks kind"),
        ('kind = "half"', 'kind = "half, or so"', "kind must be one word"),
        ("def compressor", "def shorten", "lacks compressor"),
        ("taps: int = 2", "taps: int", "taps needs a default"),
        ("taps: int = 2", "taps: tuple = ()", "taps needs a default, a number or a word"),
        ("@dataclasses.dataclass(frozen=True, kw_only=True)", "", "taps is no field; write @"),
        ("import dataclasses", "import dataclasses\nno_such_name", "line 3: NameError"),
    ],
)  # fmt: skip
def test_a_compressor_that_is_misdeclared_is_one_line(old, new, message, import_file):
    check_refused(COMPRESSOR, old, new, message, import_file)
    assert "half" not in compressors._KINDS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", 'forward_flops must map "compress" and "decompress" to FLOPs; got {} .dict'),
        ("return {}", "return 2.0", r"forward_flops must map .* got 2.0 .float"),
        ("return {}", "return dict(compress=-1, decompress=0)", "forward_flops must map"),
        ("return {}", GOOD_FLOPS, "compressor must give a Flax"),
        ("return {}", GOOD_FLOPS.replace("0.0", "float('nan')"), "forward_flops must map"),
    ],
)  # fmt: skip
def test_a_compressor_is_held_to_what_it_says_of_itself(old, new, message, import_file):
    import_file(COMPRESSOR.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"HalfConfig in .*half.py: {message}"):
        compressors.make_config("half", factor=2)


def test_the_numbers_of_an_option_are_checked():
    Option("bits", numbers=at_least(0, 8), default=0).check("n", 8)
    with pytest.raises(ValueError, match="n must be at most 8; got 9: the nearest is 8"):
        Option("bits", numbers=at_least(0, 8)).check("n", 9)
    with pytest.raises(ValueError, match="n must be at most 2147483647"):
        Option("bits").check("n", 2**31)


COMMANDS = (
    ["launch/prepare.py", "methods"],
    ["launch/train.py", "--config", "configs/language_model.py:method=Bytes", "--workdir", "run"],
    ["launch/evaluate.py", "--tokenizer", "Bytes", "--data", "text.txt"],
)


@pytest.mark.parametrize("folder", ["methods", "chunking/fixed"])
def test_commands_end_with_the_line_of_a_broken_file(folder, tmp_path):
    link_package(tmp_path, "configs", "launch")
    broken = tmp_path / "latent_jax" / folder / "broken.py"
    broken.write_text("import no_such_module\n")
    (tmp_path / "text.txt").write_text("a text\n" * 100)
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, *command],
            env=os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        lines = [line for line in done.stderr.splitlines() if line]
        assert done.returncode == 2 and len(lines) == 1, done.stderr
        assert lines[0].startswith(f"error: {broken}, line 1: ModuleNotFoundError: No module")
