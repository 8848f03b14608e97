"""A nirs4all that is missing or was not tested is refused, and nothing is changed."""

import sys
from collections.abc import Callable
from importlib import metadata

import pytest

from n4a_store import InvalidInputError, UnsupportedFormatError
from n4a_store.integrations import nirs4all as integration

Say = Callable[[str | None], None]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Say:
    """Let it look as if that version of nirs4all were installed; None for none at all."""
    real = metadata.version

    def say(version: str | None) -> None:
        def answer(name: str) -> str:
            if name != "nirs4all":
                return real(name)
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", answer)

    return say


@pytest.mark.parametrize("said", ["1.4.9", "1.4.11", "1.5", "2.0.0", "1.4.11rc1", "0.9", "dev"])
def test_another_version_is_refused_with_the_range(say: Say, said: str) -> None:
    say(said)
    before = set(sys.modules)
    with pytest.raises(UnsupportedFormatError, match=r">=1\.4\.10,<1\.4\.11") as caught:
        integration.install()
    assert said in str(caught.value)
    assert caught.value.hint is not None
    assert not integration.is_installed()
    assert not {name for name in set(sys.modules) - before if name.startswith("nirs4all")}


def test_a_missing_nirs4all_is_said_with_the_range(say: Say) -> None:
    say(None)
    with pytest.raises(InvalidInputError, match=r"not installed.*>=1\.4\.10,<1\.4\.11"):
        integration.install()
    with pytest.raises(InvalidInputError), integration.installed():
        pass
    assert not integration.is_installed()
    integration.uninstall()


@pytest.mark.parametrize("said", ["1.4.10", "1.4.10.post1", "1.4.10+local"])
def test_the_tested_version_passes(say: Say, said: str) -> None:
    from n4a_store.integrations.nirs4all.versions import check_version

    say(said)
    assert check_version() == said


@pytest.mark.parametrize("asked", [None, "", "0", "yes"])
def test_the_hook_waits_to_be_asked(monkeypatch: pytest.MonkeyPatch, asked: str | None) -> None:
    monkeypatch.delenv("N4A_STORE_NIRS4ALL", raising=False)
    if asked is not None:
        monkeypatch.setenv("N4A_STORE_NIRS4ALL", asked)
    integration.hook()
    assert not integration.is_installed()


@pytest.mark.nirs4all
def test_install_and_uninstall_put_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nirs4all", reason="needs the extra [nirs4all]")
    from n4a_store.integrations.nirs4all.seams import SEAMS

    def seen() -> list[object]:
        return [vars(seam.owner)[seam.name] for seam in SEAMS]

    before = seen()
    monkeypatch.setenv("N4A_STORE_NIRS4ALL", "1")
    integration.hook()
    integration.install()
    assert all(now is not was for now, was in zip(seen(), before, strict=True))
    with integration.installed():
        pass
    assert integration.is_installed()
    integration.uninstall()
    assert seen() == before

    monkeypatch.delattr(SEAMS[-1].owner, SEAMS[-1].name)
    with pytest.raises(UnsupportedFormatError, match="no WorkspaceStore"):
        integration.install()
    monkeypatch.undo()
    assert seen() == before
