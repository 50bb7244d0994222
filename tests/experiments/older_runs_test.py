"""Run folders that were made before a config key existed."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import common
from latent_jax.experiments.older_runs import ADDED, with_added_keys
from latent_jax.training import RunFolderError, open_run_folder


def older():
    """Return the default configuration without the keys that were added since."""
    config = common.default().to_dict()
    for key in ADDED:
        section, _, name = key.rpartition(".")
        del (config[section] if section else config)[name]
    return {key: part for key, part in config.items() if part != {}}


def test_a_key_that_was_added_has_its_old_meaning_and_that_is_the_default():
    assert with_added_keys(older()) == ConfigDict(common.default().to_dict())


def test_what_a_folder_says_stays():
    config = common.default().to_dict()
    config["tokenizer"]["lanes"] = 64
    assert with_added_keys(config).tokenizer.lanes == 64


def test_an_older_run_goes_on_but_not_as_another_one(tmp_path):
    open_run_folder(tmp_path / "run", older())
    new = common.default().to_dict()
    with pytest.raises(RunFolderError, match=r"tokenizer\.lanes: '\(absent\)' there, 0 now"):
        open_run_folder(tmp_path / "run", new)
    open_run_folder(tmp_path / "run", new, added=ADDED)
    new["tokenizer"]["lanes"] = 8
    with pytest.raises(RunFolderError, match=r"tokenizer\.lanes: 0 there, 8 now"):
        open_run_folder(tmp_path / "run", new, added=ADDED)


def test_every_key_that_came_later_has_its_value():
    """tests/golden/config_keys.txt has the keys that every run folder holds; it never grows."""
    known = (Path(__file__).parents[1] / "golden" / "config_keys.txt").read_text().split()
    keys = {
        f"{section}.{key}" if section else key
        for section, part in [("", common.default()), *common.default().items()]
        if hasattr(part, "items")
        for key, value in part.items()
        if not hasattr(value, "items")
    }
    assert keys - {*known} <= {*ADDED}, "a run folder made before lacks it: add it to ADDED"
    assert len(known) > 100 and {*known} <= keys
