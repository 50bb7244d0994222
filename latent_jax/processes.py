"""Processes of this host: whether one still lives, and is the one that had its number then."""

import os
import socket
from pathlib import Path


def host() -> str:
    """Return what tells hosts apart, and containers that share the name of one."""
    try:
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {boot} {space}"


def start_of(pid: int) -> str:
    """Return what tells a process from a later one of its number; "" if it is gone or not known."""
    try:
        # The name in brackets may hold anything; the fields behind it do not.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        # A zombie has ended, and waits for its parent to ask.
        return "" if fields[0] == b"Z" else fields[19].decode()
    except (OSError, IndexError):
        return ""


def why_gone(pid: int, start: object = None) -> str:
    """Return why a process of this host is known to be gone; "" where it lives, or may.

    Args:
        pid: its number.
        start: what `start_of` said when it lived; None or "" if that is not known.
    """
    if not 0 < pid < 2**31:
        return "it names no process"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "its process is gone"
    except PermissionError:  # alive, and another user's
        pass
    if start and start_of(pid) != start:
        return "its process is gone"
    return ""
