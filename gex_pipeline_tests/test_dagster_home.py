"""Dagster's own folder and the storage that its `dagster.yaml` names."""

import sys
from pathlib import Path

import pytest

from gex_pipeline.dagster_home import CONFIGURATION, prepare_dagster_home
from gex_pipeline.settings import Settings, SettingsError, load_settings

URL = "postgresql://gex:password-of-this-test@127.0.0.1:1/postgres"


def settings_in(folder: Path, **settings: str) -> Settings:
    return load_settings(data_dir=folder, dagster_home=folder / "dagster", **settings)


def test_the_file_is_made_once_and_then_the_user_s(tmp_path: Path) -> None:
    path = prepare_dagster_home(settings_in(tmp_path)) / "dagster.yaml"
    assert path.read_bytes() == CONFIGURATION
    path.write_text("telemetry: {enabled: true}\n")
    prepare_dagster_home(settings_in(tmp_path))
    assert path.read_text() == "telemetry: {enabled: true}\n"


def test_postgresql_is_added_to_a_file_that_is_there_by_name_only_and_once(tmp_path: Path) -> None:
    path = prepare_dagster_home(settings_in(tmp_path)) / "dagster.yaml"
    for _ in range(2):
        prepare_dagster_home(settings_in(tmp_path, dagster_postgres_url=URL))
    text = path.read_text()
    assert text.startswith(CONFIGURATION.decode())
    assert text.count("env: GEX_DAGSTER_POSTGRES_URL") == 1
    assert "password-of-this-test" not in text


def test_a_storage_of_the_user_s_own_stays(tmp_path: Path) -> None:
    path = prepare_dagster_home(settings_in(tmp_path)) / "dagster.yaml"
    mine = "storage:\n  sqlite:\n    base_dir: mine\n"
    path.write_text(mine)
    prepare_dagster_home(settings_in(tmp_path, dagster_postgres_url=URL))
    assert path.read_text() == mine


def test_the_address_that_the_file_asks_for_must_be_set(tmp_path: Path) -> None:
    prepare_dagster_home(settings_in(tmp_path, dagster_postgres_url=URL))
    with pytest.raises(SettingsError, match="storage in PostgreSQL: set GEX_DAGSTER_POSTGRES_URL, or"):
        prepare_dagster_home(settings_in(tmp_path))


def test_without_the_package_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_postgres", None)  # Python's own way to say that there is none
    with pytest.raises(SettingsError, match=r"pip install 'gex-pipeline\[postgres\]'"):
        prepare_dagster_home(settings_in(tmp_path, dagster_postgres_url=URL))


def test_an_address_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match=r"^GEX_DAGSTER_POSTGRES_URL: an address") as refused:
        load_settings(dagster_postgres_url="mysql://gex:password-of-this-test@db")
    assert "password-of-this-test" not in str(refused.value)
