"""Completion in bash: click's answers, as bash's own idea of a word needs them.

Bash ends words at `$COMP_WORDBREAKS`, where `:` and `=` stand, and replaces only what comes after
the last of them: of an id `0001_pls:1:0` it takes `0` for the word. So the script sends the line
as it was typed up to the cursor, whole words are completed here, and what stands before bash's
own word is left away from the answers.
"""

from __future__ import annotations

import os

from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

__all__ = ["BashCompletion", "register"]

_INNER_BREAKS = ":=@"  # those that names hold; at the others a word ends for the shell, too
_SCRIPT = r"""
%(complete_func)s() {
    local kind value word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS=$'\t' read -r kind value; do
        case $kind in
            plain)
                [[ $word == [\'\"]* ]] || printf -v value %%q "$value"
                COMPREPLY+=("$value") ;;
            file | dir)
                [[ $kind == dir ]] && kind=-d || kind=-f
                compopt -o default -o filenames 2>/dev/null
                while IFS= read -r value; do COMPREPLY+=("$value"); done \
                    < <(compgen "$kind" -- "$value") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$word" \
        COMP_WORDBREAKS="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -F %(complete_func)s %(prog_name)s
"""


class BashCompletion(ShellComplete):
    """The script, and what it asks for."""

    name = "bash"
    source_template = _SCRIPT.lstrip()

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one that it stands in."""
        line = os.environ.get("COMP_LINE", "")
        words = split_arg_string(line)
        # One more letter begins a new word where the last one has ended, and only there.
        incomplete = words.pop() if len(split_arg_string(line + "x")) == len(words) else ""
        self._before = _before_bash_word(incomplete)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """`plain`, `file` or `dir`, a tab, and what is to stand for bash's word."""
        value = str(item.value)
        return f"{item.type}\t{value.removeprefix(self._before)}"


def _before_bash_word(incomplete: str) -> str:
    """What of a word stands before the part that bash replaces."""
    if os.environ.get("COMP_WORD", "")[:1] in ("'", '"'):
        return ""  # nothing breaks a word in quotes
    breaks = [ch for ch in _INNER_BREAKS if ch in os.environ.get("COMP_WORDBREAKS", "")]
    return incomplete[: max((incomplete.rfind(ch) + 1 for ch in breaks), default=0)]


def register() -> None:
    """Take the place of click's own completion in bash."""
    add_completion_class(BashCompletion)
