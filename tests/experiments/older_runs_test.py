"""Run folders that were made before a config key existed."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import common
from latent_jax.experiments.older_runs import ADDED, renewed, with_added_keys
from latent_jax.methods import names
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


def before_boundary_weight(**hierarchy):
    """Return a configuration of when the ratio loss was the only loss of a router."""
    config = common.default().to_dict()
    del config["hierarchy"]["boundary_weight"]
    config["hierarchy"].update({"ratio_weight": 0.03, "outer": "mamba"} | hierarchy)
    return config


def test_the_ratio_loss_is_the_loss_of_the_router():
    assert with_added_keys(before_boundary_weight()) == ConfigDict(common.default().to_dict())
    found = with_added_keys(before_boundary_weight(ratio_weight=0.1, outer="attention"))
    assert found.hierarchy.boundary_weight == 0.1 and found.hierarchy.outer == "attention"
    assert "ratio_weight" not in found.hierarchy
    # Today's choice of blocks stays, also where it was another method's default.
    config = common.default().to_dict()
    config["hierarchy"]["outer"] = "mamba"
    assert with_added_keys(config).hierarchy.outer == "mamba"


def test_a_run_from_before_the_weight_was_renamed_goes_on(tmp_path):
    open_run_folder(tmp_path / "run", before_boundary_weight())
    new = common.default().to_dict()
    with pytest.raises(RunFolderError, match=r"ratio_weight: 0\.03 there, '\(absent\)' now"):
        open_run_folder(tmp_path / "run", new, added=ADDED)
    open_run_folder(tmp_path / "run", new, added=ADDED, renewed=renewed)
    new["hierarchy"]["boundary_weight"] = 0.5
    with pytest.raises(RunFolderError, match=r"hierarchy\.boundary_weight: -1\.0 there, 0\.5 now"):
        open_run_folder(tmp_path / "run", new, added=ADDED, renewed=renewed)


def test_an_option_that_was_renamed_is_read_and_goes_on(tmp_path):
    old, new = (common.default().to_dict() for _ in range(2))
    old["method"] = "TokenPooling[n=4,boundaries=spikes]"
    new["method"] = "TokenPooling[n=4,router=spikes]"
    assert with_added_keys(old).method == new["method"]
    assert with_added_keys(new).method == new["method"]
    open_run_folder(tmp_path / "run", old)
    open_run_folder(tmp_path / "run", new, added=ADDED, renewed=renewed)
    new["method"] = "TokenPooling[n=4]"
    with pytest.raises(RunFolderError, match=r"method: '.*router=spikes\]' there, '.*\[n=4\]' now"):
        open_run_folder(tmp_path / "run", new, added=ADDED, renewed=renewed)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BLT[boundaries = rise, n=4]", "BLT[router = rise, n=4]"),
        ("BLT[n=4.5]", "BLT[n=4.5]"),
        ("HNet[n=4,boundaries=cosine]", "HNet[n=4,boundaries=cosine]"),
        ("nothing[boundaries=1]", "nothing[boundaries=1]"),
        ("", ""),
    ],
)
def test_only_renamed_options_change(name, expected):
    assert names.renewed(name) == expected
