"""The list of slow tests names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_slow_test_exists():
    lines = (TESTS / "slow.txt").read_text().splitlines()
    names = [line for line in lines if not line.startswith("#")]
    assert names == sorted(set(names))
    for name in names:
        file, function = re.match(r"tests/([\w/]+\.py)::(\w+)", name).groups()
        assert re.search(rf"^def {function}\(", (TESTS / file).read_text(), re.M), name
