"""One value from three sources, checked in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n4a_store.errors import InvalidInputError, StoreError
from n4a_store.settings import ENVIRONMENT_PREFIX, Durability, Settings


def test_without_sources_the_defaults_hold() -> None:
    settings = Settings.load(None, {})
    assert settings == Settings()
    assert settings.durability is Durability.FULL
    assert settings.out_of_band_threshold == 4096
    assert settings.undo_window_days == 14
    assert not settings.shared_group
    assert not settings.allow_network_filesystem
    assert not settings.identify_host


def test_the_environment_is_stronger_than_the_config_file() -> None:
    config = 'durability = "relaxed"\nundo_window_days = 3\nshared_group = true\n'
    settings = Settings.load(config, {"N4A_STORE_DURABILITY": "none", "HOME": "/nowhere"})
    assert settings == Settings(durability=Durability.NONE, undo_window_days=3, shared_group=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("YES", True), ("on", True), ("1", True), ("0", False), (" off ", False)],
)
def test_switches_in_the_environment_are_words(text: str, expected: bool) -> None:
    settings = Settings.load(None, {"N4A_STORE_SHARED_GROUP": text})
    assert settings.shared_group is expected


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ('durability = "half"', "durability"),
        ("durability = true", "durability"),
        ('undo_window_days = "14"', "undo_window_days"),
        ("undo_window_days = 1.5", "undo_window_days"),
        ("undo_window_days = -1", "undo_window_days"),
        ("undo_window_days = true", "undo_window_days"),
        ("compression_level = 20", "compression_level"),
        ("pack_max_objects = 0", "pack_max_objects"),
        ("cache_bytes = 9223372036854775808", "cache_bytes"),
        ("shared_group = 1", "shared_group"),
        ("[cache_bytes]", "cache_bytes"),
    ],
)
def test_a_bad_value_in_the_config_names_source_key_and_what_is_allowed(
    config: str, key: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Settings.load(config, {})
    assert str(caught.value).startswith(f"config: {key} = ")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("allowed: ")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("N4A_STORE_DURABILITY", "FULL"),
        ("N4A_STORE_CACHE_BYTES", ""),
        ("N4A_STORE_CACHE_BYTES", "1e6"),
        ("N4A_STORE_CACHE_BYTES", "1_000"),
        ("N4A_STORE_CACHE_BYTES", "\u0661"),  # int() would read this as 1
        ("N4A_STORE_CACHE_BYTES", "9" * 5000),
        ("N4A_STORE_IDENTIFY_HOST", "maybe"),
    ],
)
def test_a_bad_variable_is_named(variable: str, text: str) -> None:
    with pytest.raises(InvalidInputError, match=f"environment: {variable} = ") as caught:
        Settings.load(None, {variable: text})
    assert caught.value.hint is not None


def test_the_environment_does_not_excuse_a_bad_config() -> None:
    with pytest.raises(InvalidInputError, match="config: durability"):
        Settings.load('durability = "half"', {"N4A_STORE_DURABILITY": "full"})


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(InvalidInputError, match="config: unknown setting 'durablity'") as caught:
        Settings.load('durablity = "full"', {})
    assert caught.value.hint == "did you mean durability?"


def test_an_unknown_key_far_from_all_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError) as caught:
        Settings.load("zzz = 1", {})
    assert caught.value.hint is not None
    assert "undo_window_days" in caught.value.hint


def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidInputError, match="unknown setting 'N4A_STORE_DURABLITY'") as caught:
        Settings.load(None, {"N4A_STORE_DURABLITY": "none"})
    assert caught.value.hint == "did you mean N4A_STORE_DURABILITY?"


def test_a_variable_of_somebody_else_is_left_alone() -> None:
    environ = {"N4A_STORE_DEBUG": "1", "N4A_STORE_PATH": "/somewhere", "N4A_STORE_": ""}
    assert Settings.load(None, environ) == Settings()


def test_a_config_that_is_not_toml_says_where() -> None:
    with pytest.raises(InvalidInputError, match=r"config: not valid TOML.*line 1"):
        Settings.load("durability full", {})
    with pytest.raises(InvalidInputError, match=r"^/corn/config: not valid TOML"):
        Settings.load("durability full", {}, config="/corn/config")


def test_a_settings_value_cannot_be_made_wrong() -> None:
    with pytest.raises(InvalidInputError, match="Settings: undo_window_days = -1"):
        Settings(undo_window_days=-1)


def test_durability_may_be_given_by_its_name() -> None:
    assert Settings(durability="none").durability is Durability.NONE  # type: ignore[arg-type]


@given(
    st.text(max_size=60),
    st.dictionaries(
        st.sampled_from([ENVIRONMENT_PREFIX + info.key.upper() for info in Settings.describe()]),
        st.text(max_size=12),
        max_size=3,
    ),
)
def test_whatever_the_sources_hold_the_answer_is_settings_or_a_store_error(
    config: str, environ: dict[str, str]
) -> None:
    try:
        settings = Settings.load(config, environ)
    except StoreError:
        return
    assert isinstance(settings, Settings)


def test_the_description_covers_every_setting_and_its_default_loads() -> None:
    described = Settings.describe()
    assert [info.key for info in described] == list(Settings().as_dict())
    environ = {info.variable: info.default for info in described}
    assert Settings.load(None, environ) == Settings()
    assert all(info.meaning and info.allowed for info in described)
