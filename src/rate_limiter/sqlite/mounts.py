"""Tells where a file lies: SQLite's locks and shared memory do not work across a network."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["network_of"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORKS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"),
    *("nfs4", "orangefs", "smb3", "smbfs"),
    *("fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.mfs", "fuse.rclone", "fuse.s3fs"),
    *("fuse.seaweedfs", "fuse.sshfs", "fuse.juicefs", "fuse.JuiceFS", "fuse.davfs"),
}
_OCTAL = re.compile(r"\\([0-7]{3})")


def network_of(path: str, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of the network file system that a path lies on.

    Args:
        path: The absolute path, without symbolic links.
        mounts: The kernel's list of what is mounted.

    Returns:
        None if it lies on none, or the system does not tell.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return None
    found, kind = "", ""
    for line in lines:
        point, system = _mounted(line)
        if len(point) >= len(found) and _lies_below(path, point):  # later ones cover earlier ones
            found, kind = point, system
    return kind if kind in _NETWORKS else None


def _mounted(line: str) -> tuple[str, str]:
    """Return where something is mounted, and the kind of its file system."""
    before, _, after = line.partition(" - ")
    point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), before.split(" ")[4])
    return point, after.split(" ")[0]


def _lies_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip(os.sep) + os.sep)
