"""A stale lock that several processes take over: wherever one stalls, one holder is left."""

import itertools
import os
import threading

import pytest

from latent_jax import folder_lock, lock_file
from latent_jax.folder_lock import LOCK, FolderLock, LockedError
from tests.faults.lock_test import quick, written  # noqa: F401  a fixture

pytestmark = pytest.mark.usefixtures("quick")

STEPS = ("make", "look", "move_over", "is_ours", "read")
"""What takes a lock over; each is one step on the disk, and a process may stall before and behind
every one.
"""


def taken(folder):
    """Return a lock, or None where it is refused."""
    try:
        return FolderLock(folder / LOCK, "one run")
    except LockedError:
        return None


def is_holder(lock):
    if lock is None:
        return False
    try:
        lock.check()
    except LockedError:
        return False
    return True


class Stall:
    """Runs others at the nth step of the first taker, as if that one had stalled there."""

    def __init__(self, monkeypatch, others, at, behind):
        self.others, self.at, self.behind = others, at, behind
        self.n_steps, self.is_over = 0, False
        for module, name in itertools.product((folder_lock, lock_file), STEPS):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, self.stalling(getattr(module, name)))
        self.thread = threading.current_thread()

    def stalling(self, step):
        def stalled(*words):
            if self.is_over or threading.current_thread() is not self.thread:
                return step(*words)
            self.n_steps += 1
            now = self.n_steps == self.at
            if now and not self.behind:
                self.run()
            found = step(*words)
            if now and self.behind:
                self.run()
            return found

        return stalled

    def run(self):
        self.is_over = True
        self.others()


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("is_taken_for_dead", [False, True])
@pytest.mark.parametrize("at", range(1, 12))
def test_one_of_three_holds_it_wherever_the_first_stalls(
    tmp_path, monkeypatch, at, behind, is_taken_for_dead, links
):
    """The second one takes it over, and a third one may find the second one's, released or not."""
    if not links:

        def link(*_, **__):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    written(tmp_path, process_start="1")
    others, first_token = [], []

    def run_others():
        if is_taken_for_dead:  # as a process of another host that has not refreshed for a while
            why_stale = FolderLock._why_stale

            def stale(self, found):
                return "it stalls" if found["token"] in first_token else why_stale(self, found)

            monkeypatch.setattr(FolderLock, "_why_stale", stale)
        others.extend([taken(tmp_path), taken(tmp_path)])

    stall = Stall(monkeypatch, run_others, at, behind)
    original = FolderLock._take

    def noted(self):
        if not first_token:
            first_token.append(self._token)
        return original(self)

    monkeypatch.setattr(FolderLock, "_take", noted)
    first = taken(tmp_path)
    locks = [first, *others]
    try:
        assert sum(map(is_holder, locks)) == 1, [lock is not None for lock in locks]
        assert stall.is_over or at > 6
        kept = [lock for lock in locks if lock is not None]
        assert len(kept) == 1 or is_taken_for_dead, "only who was taken for dead may have begun"
    finally:
        for lock in locks:
            if lock is not None:
                lock.release()
    assert os.listdir(tmp_path) == []


def test_who_refreshes_late_overwrites_nobody(tmp_path):
    late = FolderLock(tmp_path / LOCK, "one run")
    late._ended.set()
    late._thread.join()
    written(tmp_path, token="newer")  # in place: then as by a rename
    (tmp_path / "newer").write_bytes((tmp_path / LOCK).read_bytes())
    os.replace(tmp_path / "newer", tmp_path / LOCK)
    before = (tmp_path / LOCK).read_bytes()
    assert not lock_file.refresh(tmp_path / LOCK, late._text(), late._token)
    assert (tmp_path / LOCK).read_bytes() == before
    late.release()
    assert (tmp_path / LOCK).read_bytes() == before


def test_a_token_of_others_leads_nowhere(tmp_path):
    folder = tmp_path / "some" / "run"
    folder.mkdir(parents=True)
    written(folder, token="../../somewhere", process_start="1")
    lock = FolderLock(folder / LOCK, "one run")
    lock.release()
    assert [*tmp_path.rglob("*")] == [tmp_path / "some", folder]
