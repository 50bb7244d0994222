import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from latent_jax.paths import STORES, is_remote, open_path, replace_file
from tests.bucket import Bucket, use_bucket


def test_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert replace_file(path, b"one") == path
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = replace_file(tmp_path / "b.txt", b"one")
    with pytest.raises(TypeError):
        replace_file(path, "not bytes")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_move_that_fails_leaves_nothing_half_written(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        replace_file(tmp_path / "taken", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_path_on_a_disk_is_a_path():
    assert open_path("a/b") == Path("a/b") and open_path(Path("/a")) == Path("/a")
    assert not is_remote("a/b.c:d/e") and not is_remote("C:/a") and is_remote("gs://a")


def test_a_bucket_holds_whole_files(monkeypatch):
    objects = use_bucket(monkeypatch)
    path = replace_file("gs://bucket/a/b.txt", b"one")
    assert replace_file(path, b"two") == path and str(path) == "gs://bucket/a/b.txt"
    assert path.read_text() == "two" and path.parent.exists() and not (path / "c").exists()
    assert list(objects) == ["/bucket/a/b.txt"]


def test_a_bucket_that_cannot_be_written_is_an_os_error(monkeypatch):
    use_bucket(monkeypatch)

    def refuse(*_, **__):
        raise RuntimeError("403 of some client")

    monkeypatch.setattr(Bucket, "_open", refuse)
    with pytest.raises(OSError, match=r"cannot write gs://bucket/x: RuntimeError: 403"):
        replace_file("gs://bucket/x", b"")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "s3://bucket/x",
            r"s3://bucket/x: folders of a run lie on a disk or on gs://",
        ),
        (Path("gs://bucket/x"), "gs:/bucket/x names no bucket: write gs://BUCKET/FOLDER"),
        ("gs://", "gs:// names no bucket"),
    ],
)
def test_what_is_no_folder_of_a_run_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        open_path(path)


def test_a_missing_client_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr("latent_jax.paths.STORES", {"gs": ("etils", "absent_client")})
    with pytest.raises(ValueError, match=r"needs absent_client, .* pip install -e \"\.\[gs\]\""):
        open_path("gs://bucket/x")


def test_the_extra_installs_the_clients():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for scheme, packages in STORES.items():
        extra = {Requirement(line).name for line in project["optional-dependencies"][scheme]}
        assert extra == set(packages)
