"""`completion`: the script that teaches a shell to complete our commands, refs and ids."""

from __future__ import annotations

import click

from n4a_store.cli.choices import OneOf
from n4a_store.cli.command import porcelain
from n4a_store.cli.commands import COMPLETE_VARIABLE
from n4a_store.cli.context import App


@porcelain("completion")
@click.argument("shell", type=OneOf(["bash", "zsh", "fish"]))
def command(app: App, shell: str) -> None:
    """Print the script for completion in a shell.

    Commands, options, files, datasets, refs, artifact ids and object ids are completed.

    \b
    ~/.bashrc                    eval "$(n4a-store completion bash)"
    ~/.zshrc                     eval "$(n4a-store completion zsh)"
    ~/.config/fish/config.fish   n4a-store completion fish | source
    """
    from click.shell_completion import get_completion_class

    from n4a_store.cli.bash import register
    from n4a_store.cli.program import program

    register()
    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(program, {}, "n4a-store", COMPLETE_VARIABLE).source()
    if app.json:
        app.out.json("completion", {"shell": shell, "script": script})
    else:
        app.out.raw(script.encode("utf-8"))
