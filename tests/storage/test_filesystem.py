"""Only file systems that are known to be local are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from n4a_store.errors import BackendError
from n4a_store.storage.filesystem import check_filesystem, filesystem_type, is_read_only


def table(*mounts: tuple[str, str]) -> str:
    return "".join(
        f"{number} 1 0:{number} / {point} rw,relatime shared:1 - {kind} source rw\n"
        for number, (point, kind) in enumerate(mounts)
    )


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
def test_local_ones_pass(tmp_path: Path, kind: str) -> None:
    check_filesystem(tmp_path, allow=False, mountinfo=table(("/", kind)))


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse", "fuse.sshfs", "fuseblk", "9p", "lustre", "new"]
)
def test_every_other_is_refused_unless_the_user_says_otherwise(tmp_path: Path, kind: str) -> None:
    with pytest.raises(BackendError, match=kind) as caught:
        check_filesystem(tmp_path, allow=False, mountinfo=table(("/", kind)))
    assert "allow_network_filesystem" in str(caught.value.hint)
    check_filesystem(tmp_path, allow=True, mountinfo=table(("/", kind)))


def test_the_nearest_mount_decides_and_the_latest_of_two_on_one_point(tmp_path: Path) -> None:
    home = str(tmp_path.resolve())
    inner = tmp_path / "data set" / "x"
    inner.mkdir(parents=True)
    escaped = f"{home}/data\\040set"
    mounts = [("/", "ext4"), (home, "xfs"), (escaped, "nfs"), (f"{home}/data", "cifs")]
    assert filesystem_type(inner, table(*mounts)) == "nfs"
    assert filesystem_type(tmp_path, table(*mounts)) == "xfs"
    assert filesystem_type(Path("/"), table(*mounts)) == "ext4"
    assert filesystem_type(tmp_path, table(("/", "a"), (home, "b"), (home, "c"))) == "c"


def test_a_link_leads_to_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    mounts = table(("/", "ext4"), (f"{tmp_path.resolve()}/remote", "nfs4"))
    with pytest.raises(BackendError, match="nfs4"):
        check_filesystem(tmp_path / "link", allow=False, mountinfo=mounts)


def test_lines_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    rubbish = "\nshort\n1 2 3\n1 1 0:1 / / rw no separator\n"
    assert filesystem_type(tmp_path, rubbish) is None
    assert filesystem_type(tmp_path, rubbish + table(("/", "ext4"))) == "ext4"


def test_this_machine_has_a_file_system(tmp_path: Path) -> None:
    assert filesystem_type(tmp_path)
    assert not is_read_only(tmp_path)
    assert not is_read_only(tmp_path / "missing")
