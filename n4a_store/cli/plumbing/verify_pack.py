"""`verify-pack`: packs checked byte by byte, each by itself."""

from __future__ import annotations

from pathlib import Path

import click

from n4a_store import errors
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode
from n4a_store.storage.layout import PACK_SUFFIX, StoreLayout


@plumbing("verify-pack")
@click.argument("packs", metavar="[PACK]...", nargs=-1)
def command(app: App, packs: tuple[str, ...]) -> None:
    """Check packs and list their objects.

    A PACK is a file, or the id of a pack in the store; without one, all packs of the store are
    checked. With -v, each object is listed in file order: '<id> <kind> <size> <stored size>
    <offset> <codec>'. Damage is exit code 4.
    """
    from n4a_store.repo.inspect import inspect_pack

    found = []
    paths: list[Path] = []
    with app.attempt(app.options.dataset or app.options.store or "", diagnose=True):
        paths = _paths(app, packs)
    for path in paths:
        inspection = inspect_pack(path)
        found.append(inspection)
        if inspection.damage:
            app.exit_code = ExitCode.FINDINGS
            *others, last = inspection.damage
            for message in others:
                app.out.error(message)
            app.out.error(last, app.located(_hint(path)))
        if app.json:
            continue
        if app.verbose:
            for packed in inspection.objects:
                sizes = f"{packed.size} {packed.stored_size} {packed.offset}"
                app.out.fields(f"{packed.oid} {packed.kind.label} {sizes} {packed.codec}")
        app.out.fields(f"{path.name}: {'damaged' if inspection.damage else 'ok'}")
    if app.json:
        app.out.json("verify-pack", {"packs": found})


def _hint(path: Path) -> str:
    if not StoreLayout(path.parent.parent).format.is_file():
        return f"put '{path}' back from a backup, or have it sent again"
    return (
        f"n4a-store index-pack {path.stem} keeps what is whole of it; to lose nothing, "
        f"put packs/{path.name} back from a backup (docs/howto/backup.md)"
    )


def _paths(app: App, packs: tuple[str, ...]) -> list[Path]:
    files = [Path(pack) for pack in packs]
    if packs and all(file.is_file() for file in files):
        return files
    layout = app.store().layout
    if not packs:
        return sorted(layout.packs.glob(f"*{PACK_SUFFIX}"))
    chosen: list[Path] = []
    for name, file in zip(packs, files, strict=True):
        path = file if file.is_file() else layout.pack(name.removesuffix(PACK_SUFFIX))
        if not path.is_file():
            raise errors.ObjectNotFoundError(
                f"no pack is called '{name}'", hint="'n4a-store verify-pack' checks all of them"
            )
        chosen.append(path)
    return chosen
