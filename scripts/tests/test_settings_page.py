"""docs/settings.md has every setting, with words, as the code has it now."""

from __future__ import annotations

import sys

import pytest
import settings_page
from blindtune.training.settings import SETTING_TYPES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = settings_page.CONFIG.read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says() -> None:
    """Otherwise: make docs-settings."""
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page()


def test_every_setting_of_a_host_is_read_with_its_default_and_words() -> None:
    read = {(one.section, one.name): tomllib.loads(f"x = {one.default}")["x"] for one in host_settings()}
    file = {(name, key): value for name, section in tomllib.loads(CONFIG).items() for key, value in section.items()}
    assert read == file
    assert not [one.name for one in host_settings() if not one.says]


def host_settings() -> list[settings_page.HostSetting]:
    found: list[settings_page.HostSetting] = settings_page.host_settings(CONFIG)[1]
    return found


def test_every_setting_of_a_run_has_words_and_a_group() -> None:
    assert not [name for name, kind in SETTING_TYPES.items() if not kind.says or not kind.panel]


def test_a_comment_goes_on_in_the_next_line() -> None:
    text = '# head\n\n[log] # where\nfilter = "a # b" # one\n        # two\n'
    sections, (setting,) = settings_page.host_settings(text)
    assert sections == {"log": "where"}
    assert setting == settings_page.HostSetting("log", "filter", '"a # b"', "one two")


def test_a_line_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a section"):
        settings_page.host_settings("[log]\nfilter\n")


def test_a_bar_ends_no_cell() -> None:
    assert settings_page.table(("a",), [("text | <json>",)]).splitlines()[-1] == "| text \\| &lt;json> |"
