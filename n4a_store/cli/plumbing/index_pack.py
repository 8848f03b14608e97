"""`index-pack`: save what can be read of a damaged pack, or enter packs nobody lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from n4a_store import errors
from n4a_store.cli.choices import HintedUsageError
from n4a_store.cli.command import plumbing
from n4a_store.cli.context import App
from n4a_store.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from n4a_store.storage.layout import StoreLayout


@plumbing("index-pack")
@click.option("--unlisted", is_flag=True, help="Enter the packs that the catalog does not list.")
@click.argument("packs", metavar="[PACK]...", nargs=-1)
def command(app: App, unlisted: bool, packs: tuple[str, ...]) -> None:
    """Rebuild the index of a damaged pack.

    A PACK is the id of a pack in the store, or its file there. A forward scan finds every object
    that can still be read; they go into a new pack with a new index, and the damaged file is kept
    in quarantine/. Ids that are lost are printed, 'lost <id>' a line, and the exit code is 4. Where
    the ids are lost too, their number is told.

    --unlisted enters sound packs that stand in packs/ and not in the catalog: the way on after
    a catalog was restored from a backup. Whoever is writing has to end first.
    """
    from n4a_store.repo.repair import adopt_unlisted_packs, salvage_pack

    if unlisted == bool(packs):
        raise HintedUsageError("name packs, or pass --unlisted", "fsck says which are damaged")
    store = app.store()
    if unlisted:
        entered = adopt_unlisted_packs(store)
        if app.json:
            app.out.json("index-pack", {"entered": entered})
        for pack in () if app.json else entered:
            app.out.fields(f"entered {pack}")
        return
    packs = tuple(_pack_id(store.layout, pack) for pack in packs)
    try:
        saved = [salvage_pack(store, pack) for pack in packs]
    except errors.NotFoundError as error:
        error.hint = error.hint or "'n4a-store verify-pack' lists the packs"
        raise
    if any(salvaged.lost or salvaged.index_was_damaged for salvaged in saved):
        lost = sum(len(salvaged.lost) + salvaged.lost_unnamed for salvaged in saved)
        app.exit_code = ExitCode.FINDINGS if lost else ExitCode.OK
    if app.json:
        rows = [
            {
                "pack": s.pack,
                "into": s.into,
                "objects": s.objects,
                "lost": [oid.hex() for oid in s.lost],
                "index_was_damaged": s.index_was_damaged,
                "lost_unnamed": s.lost_unnamed,
            }
            for s in saved
        ]
        app.out.json("index-pack", {"salvaged": rows})
        return
    for salvaged in saved:
        into = " ".join(salvaged.into) or "-"
        app.out.fields(f"{salvaged.pack} {salvaged.objects} objects into {into}")
        for oid in salvaged.lost:
            app.out.fields(f"lost {oid.hex()}")
        if salvaged.lost_unnamed:
            app.out.note(
                f"{salvaged.lost_unnamed} more are lost, their ids too: 'n4a-store fsck' names "
                "those that are referred to"
            )


def _pack_id(layout: StoreLayout, name: str) -> str:
    """The id of a pack that is named by its id or by its file, which the shell completes."""
    from n4a_store.storage.layout import PACK_SUFFIX

    file = Path(name)
    if file.name == name:
        return name.removesuffix(PACK_SUFFIX)
    if file.resolve().parent != layout.packs.resolve():
        raise errors.InvalidInputError(
            f"'{name}' is no pack of the store in '{layout.root}'",
            hint="'n4a-store unpack-objects' takes the objects of a pack from elsewhere",
        )
    return file.name.removesuffix(PACK_SUFFIX)
