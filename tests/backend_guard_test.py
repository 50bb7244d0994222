"""No file but latent_jax/platform.py asks which backend there is, in whatever spelling."""

import ast
import pathlib

import pytest

import latent_jax

THE_PLACE = "latent_jax/platform.py"

EXCEPTIONS = {
    "sys.platform": "the operating system, not the backend",
    "platform.platform": "the operating system, in words, for environment.json",
    "target.platform": "of costs: what a program is compiled for, given by the user",
    "jax.devices('cpu')": "of costs: a CPU is always there, to lower or compare on",
}
"""Expressions that look as if they asked, and why they do not."""

ASKING = {
    "default_backend",
    "get_backend",
    "jax_platform_name",
    "jax_platforms",
    "platform_dependent",
    "platform_version",
    "xla_bridge",
}
"""Names that have no other use than to ask, as attributes or imported."""

MODULES = ("jax.extend.backend", "jax.lib.xla_bridge", "jax._src.xla_bridge")


def asks(source):
    """Return the expressions of a file that ask for the backend."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return [text for node in ast.walk(tree) if (text := _asks(node, parents))]


def _asks(node, parents):
    """Return what a node asks with; None where it does not ask."""
    match node:
        case ast.Import(names=names):
            return next((each.name for each in names if each.name.startswith(MODULES)), None)
        case ast.ImportFrom(module=str(module), names=names):
            full = [f"{module}.{each.name}" for each in names]
            return next((x for x in full if x.startswith(MODULES) or _last(x) in ASKING), None)
        case ast.Attribute(attr="platform"):
            return ast.unparse(node)
        case ast.Attribute(attr="device_kind"):
            return None if _is_told(node, parents[node]) else ast.unparse(node)
        case ast.Attribute(attr=name) if name in ASKING or ast.unparse(node) in MODULES:
            return ast.unparse(node)
        case ast.Call(func=ast.Name("getattr"), args=[_, ast.Constant(str(name)), *_]):
            return ast.unparse(node) if name in {*ASKING, "platform", "device_kind"} else None
        case ast.Call(func=ast.Attribute(attr="devices" | "local_devices")):
            # Devices of one backend by its name: whether there are any tells which one it is.
            named = [word for word in node.keywords if word.arg == "backend"]
            return ast.unparse(node) if node.args or named else None


def _is_told(node, parent):
    """Return whether the kind of a device goes into a record, or to `platform.chip`."""
    match parent:
        case ast.Dict(values=values):
            return node in values
        case ast.Call(func=ast.Name("chip"), args=[argument]):
            return argument is node
    return False


def _last(name):
    return name.rpartition(".")[2]


@pytest.mark.parametrize(
    "source",
    [
        "jax.default_backend()",
        "from jax import default_backend",
        "getattr(jax, 'default_backend')()",
        "import jax.extend.backend",
        "import jax.extend.backend as b",
        "from jax.extend import backend",
        "from jax.extend.backend import get_backend",
        "jax.extend.backend.get_backend().platform_version",
        "from jax.lib import xla_bridge",
        "jax.lib.xla_bridge.get_backend()",
        "from jax._src import xla_bridge as x",
        "is_gpu = jax.devices()[0].platform == 'gpu'",
        "device = mesh.devices.flat[0]\nif device.platform != 'cpu': pass",
        "kinds = {device.platform for device in jax.local_devices()}",
        "if 'H100' in device.device_kind: pass",
        "match device.device_kind:\n    case 'cpu': pass",
        "kind = device.device_kind.lower()",
        "gpus = jax.devices('gpu')",
        "gpus = jax.local_devices(backend='gpu')",
        "if jax.config.jax_platforms == 'cpu': pass",
        "jax.lax.platform_dependent(x, cpu=f, default=g)",
    ],
)
def test_every_spelling_is_noticed(source):
    assert asks(source) and not set(asks(source)) <= set(EXCEPTIONS)


@pytest.mark.parametrize(
    "source",
    [
        "from latent_jax.platform import Platform, chip\nkind = Platform.current().kind",
        "record = {'device': jax.devices()[0].device_kind, 'n': jax.device_count()}",
        "peak = chip(device.device_kind).flops",
        "jax.config.update('jax_platforms', 'cpu')",
        "import platform\nfrom latent_jax import platform",
        "devices = jax.local_devices()",
    ],
)
def test_what_does_not_ask_is_let_pass(source):
    assert not asks(source)


def test_no_other_file_asks_for_the_backend():
    root = pathlib.Path(latent_jax.__file__).parents[1]
    found = {
        (path.relative_to(root).as_posix(), text)
        for folder in ("latent_jax", "launch", "configs")
        for path in (root / folder).rglob("*.py")
        for text in asks(path.read_text(encoding="utf-8"))
    }
    own = {"jax.default_backend", "jax.local_devices(backend='cpu')"}
    assert {text for file, text in found if file == THE_PLACE} == own
    others = {(file, text) for file, text in found if file != THE_PLACE}
    assert not {(file, text) for file, text in others if text not in EXCEPTIONS}
    assert {text for _, text in others} == set(EXCEPTIONS), "an exception is needed no more"
