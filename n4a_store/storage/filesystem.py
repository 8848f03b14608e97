"""What kind of file system a store stands on.

The protocol needs ``flock`` that every process on every mount sees, and rename and fsync that
mean what POSIX says. Network and FUSE file systems promise neither reliably, so only file
systems known to be local are accepted; the list is an allow-list because a new network file
system must not pass by being unknown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from n4a_store.errors import BackendError

__all__ = ["check_filesystem", "filesystem_type", "is_read_only", "may_write"]

_LOCAL = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs"),
        *("nilfs2", "tmpfs", "ramfs", "overlay", "aufs", "apfs", "hfs", "ufs"),
    )
)
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def filesystem_type(folder: Path, mountinfo: str | None = None) -> str | None:
    """The type of the file system that holds ``folder``, or None where the system does not tell.

    Args:
        folder: A folder that exists.
        mountinfo: The table of mounts, as in Linux's ``/proc/self/mountinfo``; read if None.
    """
    if mountinfo is None:
        if not sys.platform.startswith("linux"):
            return None
        try:
            mountinfo = _MOUNTS.read_text(errors="replace")
        except OSError:
            return None
    target = folder.resolve()
    best: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        parts = fields.split(" ")
        if not separator or len(parts) < 5:  # noqa: PLR2004 - the mount point is the fifth
            continue
        mount_point = parts[4]
        for escape, char in _ESCAPES.items():
            mount_point = mount_point.replace(escape, char)
        # A later mount on the same point hides the earlier one, hence >=.
        if target.is_relative_to(mount_point) and (best is None or len(mount_point) >= best[0]):
            best = (len(mount_point), rest.split(" ", 1)[0])
    return None if best is None else best[1]


def check_filesystem(folder: Path, *, allow: bool, mountinfo: str | None = None) -> None:
    """Refuse a folder whose file system is not known to be local.

    Args:
        folder: A folder that exists.
        allow: Whether the user has said that it is fine.
        mountinfo: The table of mounts; read if None.

    Raises:
        BackendError: It is on a network or FUSE file system, or an unknown one.
    """
    if allow:
        return
    kind = filesystem_type(folder, mountinfo)
    if kind is not None and kind not in _LOCAL:
        raise BackendError(
            f"{folder} is on a {kind} file system, whose locks are not known to hold between "
            "machines: gc could delete what another machine is writing",
            hint="keep the store on a local disk, or set allow_network_filesystem "
            "(N4A_STORE_ALLOW_NETWORK_FILESYSTEM=true) if only one machine ever uses it",
        )


def is_read_only(folder: Path) -> bool:
    """Whether ``folder`` is on a disk mounted read-only."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def may_write(*paths: Path) -> bool:
    """Whether this process, as the user that it acts as, may write to all of ``paths``."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(path, os.W_OK, effective_ids=effective) for path in paths)
