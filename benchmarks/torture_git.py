"""The same torture for git and for this store: writers, a continuous gc without grace, kills.

    python benchmarks/torture_git.py [--seconds 60] [--seed N]

git keeps unreachable objects for two weeks because its gc is not safe beside writers; with
``git gc --prune=now`` the grace period is gone, as it is in ours. In both, writers commit trees
from one small universe and delete refs again, so that what is put has often just become garbage.
Writers note what was acknowledged; afterwards every ref is followed to the last object. git's
writers are its own plumbing: hash-object, mktree, commit-tree, update-ref. Commits that could not
be made are no loss and are not counted: only acknowledged ones are.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from n4a_store.testing.ledger import Ledger, changed, read_ledger
from n4a_store.testing.torture import torture

WRITERS = 3
UNIVERSE = 40
NAMES = 3
KILL_EVERY = 0.3
DELETIONS = 0.4
ENVIRON = {
    **os.environ,
    **{f"GIT_{who}_{what}": "torture" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)},
    **{f"GIT_{who}_EMAIL": "torture@localhost" for who in ("AUTHOR", "COMMITTER")},
    # One moment for all, so that the same tree gives the same commit again.
    **{f"GIT_{who}_DATE": "1700000000 +0000" for who in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True, slots=True)
class Count:
    """What one side lost.

    Args:
        lost: Refs that do not hold what was acknowledged.
        dangling: Acknowledged commits that reach something missing, seen at once or at the end.
    """

    commits: int
    kills: int
    collections: int
    lost: int
    dangling: int


def git(repository: Path, *arguments: str, data: bytes = b"", check: bool = True) -> str:
    """Run one git command."""
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        input=data,
        capture_output=True,
        check=check,
        env=ENVIRON,
    )
    return done.stdout.decode().strip()


def put(repository: Path, number: int) -> str:
    """Put a commit of the universe: the same number gives the same id."""
    own = random.Random(number)
    lines = []
    for at in range(2):
        blob = random.Random(own.randrange(UNIVERSE)).randbytes(300)
        oid = git(repository, "hash-object", "-w", "--stdin", data=blob)
        lines.append(f"100644 blob {oid}\tfile{at}")
    tree = git(repository, "mktree", data="\n".join(lines).encode())
    return git(repository, "commit-tree", tree, "-m", str(number))


def write(repository: Path, slot: str, folder: Path, rng: random.Random) -> None:
    """Be a writer until killed; deletes are acknowledged like commits."""
    path = folder / f"ledger-{slot}"
    standing = read_ledger(path)
    ledger = Ledger(path)
    numbers: dict[str, int] = {}
    deleted = 0
    if standing.pending is not None:
        now = refs_of(repository, slot)
        ledger.settle(now == changed(standing.refs, standing.pending))
    while True:
        name = f"refs/heads/{slot}/{rng.randrange(NAMES)}"
        try:
            oid = None
            if rng.random() >= DELETIONS:
                # Half of the time what this writer deleted last: garbage by now, or about to be.
                number = rng.choice((deleted, rng.randrange(UNIVERSE)))
                oid = put(repository, number)
                numbers[name] = number
                time.sleep(rng.random() * 0.2)
            ledger.intend({name: oid})
            if oid is None:
                git(repository, "update-ref", "-d", name)
                deleted = numbers.get(name, deleted)
            else:
                git(repository, "update-ref", name, oid)
        except subprocess.CalledProcessError:
            ledger.withdraw()  # refused, or its objects were taken away: not acknowledged
            continue
        ledger.acknowledge()
        if oid is not None and not is_whole(repository, oid):
            ledger.say("dangling")


def is_whole(repository: Path, name: str) -> bool:
    """Whether everything below a commit is there."""
    command = ["git", "-C", str(repository), "rev-list", "--objects", "--quiet", name]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def collect(repository: Path, _slot: str, folder: Path, _rng: random.Random) -> None:
    """Be the collector until killed."""
    ledger = Ledger(folder / "gc")
    while True:
        for lock in repository.glob("gc.pid*"):
            lock.unlink(missing_ok=True)  # of a gc that was killed
        git(repository, "reflog", "expire", "--expire=now", "--all", check=False)
        git(repository, "gc", "--prune=now", "--quiet", "--force", check=False)
        ledger.say("gc")


def refs_of(repository: Path, slot: str) -> dict[str, str]:
    """The refs of one writer."""
    text = git(
        repository, "for-each-ref", "--format=%(refname) %(objectname)", f"refs/heads/{slot}/"
    )
    return {name: oid for name, _, oid in (line.partition(" ") for line in text.splitlines())}


def torture_git(folder: Path, seconds: float, seed: int) -> Count:
    """Torture a bare repository with git's own commands."""
    repository = folder / "repository"
    subprocess.run(["git", "init", "--bare", "--quiet", repository], check=True)
    git(repository, "config", "gc.auto", "0")
    roles = {**{f"writer{at}": write for at in range(WRITERS)}, "collector": collect}
    born = dict.fromkeys(roles, 0)
    pids: dict[int, str] = {}

    def start(slot: str) -> None:
        born[slot] += 1
        pid = os.fork()
        if pid == 0:
            os.setsid()  # its git commands die with it
            roles[slot](repository, slot, folder, random.Random(f"{seed}-{slot}-{born[slot]}"))
        pids[pid] = slot

    def kill(pid: int) -> str:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # A ref's lock file of the dead would refuse its successor for ever.
        for lock in repository.glob("refs/**/*.lock"):
            lock.unlink(missing_ok=True)
        return pids.pop(pid)

    for slot in roles:
        start(slot)
    rng = random.Random(seed)
    kills = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(rng.expovariate(1 / KILL_EVERY))
        kills += 1
        start(kill(rng.choice(sorted(pids))))
    time.sleep(0.1)
    for pid in list(pids):
        kill(pid)
    return _judge(repository, folder, kills)


def _judge(repository: Path, folder: Path, kills: int) -> Count:
    lost = dangling = commits = 0
    for at in range(WRITERS):
        standing = read_ledger(folder / f"ledger-writer{at}")
        commits += standing.commits
        now = refs_of(repository, f"writer{at}")
        allowed = standing.allowed()
        lost += 0 if now in allowed else sum(now.get(n) != o for n, o in allowed[0].items())
        dangling += sum(not is_whole(repository, name) for name in now)
        text = (folder / f"ledger-writer{at}").read_text()
        dangling += sum('"dangling"' in line for line in text.splitlines())
    gc = folder / "gc"
    collections = len(gc.read_text().splitlines()) if gc.exists() else 0
    return Count(commits, kills, collections, lost, dangling)


def torture_ours(folder: Path, seconds: float, seed: int) -> Count:
    """The torture of the test suite, whose writers, readers and collectors are killed as well."""
    report = torture(folder / "store", folder, seconds=seconds, seed=seed, writers=WRITERS)
    for finding in report.findings:
        print(f"FOUND {finding}", file=sys.stderr)
    kills = sum(report.kills.values())
    return Count(report.commits, kills, report.done.get("gc", 0), report.lost, report.dangling)


def main() -> None:
    """Torture both and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--folder", type=Path, help="where the repositories go")
    arguments = parser.parse_args()
    rows: dict[str, Count] = {}
    folder = Path(tempfile.mkdtemp(prefix="n4a-git-", dir=arguments.folder))
    try:
        sides = {"n4a_store": torture_ours, "git gc --prune=now": torture_git}
        if shutil.which("git") is None:
            print("SKIPPED git: it is not on PATH")
            del sides["git gc --prune=now"]
        for name, run in sides.items():
            (folder / name).mkdir()
            rows[name] = run(folder / name, arguments.seconds, arguments.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    fields = ("commits", "kills", "collections", "lost", "dangling")
    print(f"{arguments.seconds:g} s each, seed {arguments.seed}")
    print(f"{'':20}" + "".join(f"{field:>13}" for field in fields))
    for name, count in rows.items():
        print(f"{name:20}" + "".join(f"{getattr(count, field):>13}" for field in fields))
    ours = rows["n4a_store"]
    sys.exit(bool(ours.lost or ours.dangling))


if __name__ == "__main__":
    main()
