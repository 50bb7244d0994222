"""The package as links in another folder, to which a test adds files of its own."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def link_package(tree, *others):
    """Make the folders of latent_jax in `tree`, with a link for each file; link `others` whole."""
    for path in (ROOT / "latent_jax").rglob("*"):
        link = tree / path.relative_to(ROOT)
        if path.is_dir():
            link.mkdir(parents=True, exist_ok=True)
        elif "__pycache__" not in path.parts:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    for name in others:
        (tree / name).symlink_to(ROOT / name)
