"""Settings: every variable under every name, what wins over what, and the one line a wrong value ends in."""

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gex_pipeline.errors import PermanentError
from gex_pipeline.feeds import Feed, WantedFeed
from gex_pipeline.settings import (
    Settings,
    SettingsError,
    environment_for_children,
    load_settings,
    require_writable,
    variable_names,
)

SECRET = "s3cr3t-T0ken"  # noqa: S105 - a made-up one, to find where it must not appear

FEEDS = (WantedFeed(Feed("NQ_NDX", "gex_zero")), WantedFeed(Feed("SPX", "gex_full"), dt.date(2023, 1, 3)))

# Setting, its names with the preferred one first, a text, and the value that text stands for.
VARIABLES: list[tuple[str, tuple[str, ...], str, object]] = [
    ("data_dir", ("GEX_DATA_DIR", "DATA_DIR"), "/srv/gex", Path("/srv/gex")),
    ("staging_dir", ("GEX_STAGING_DIR", "STAGING_DIR"), "stage", Path("stage")),
    ("parquet_dir", ("GEX_PARQUET_DIR", "PARQUET_DIR"), "pq", Path("pq")),
    ("host", ("GEX_HOST", "HOST"), "localhost", "localhost"),
    ("port", ("GEX_PORT", "PORT"), "9000", 9000),
    ("dagster_port", ("GEX_DAGSTER_PORT",), "3001", 3001),
    ("dagster_url", ("GEX_DAGSTER_URL",), "https://gex.example/d", "https://gex.example/d"),
    ("timeout_keep_alive", ("GEX_TIMEOUT_KEEP_ALIVE",), "5", 5),
    ("timeout_request", ("GEX_TIMEOUT_REQUEST",), "5", 5),
    ("trusted_proxies", ("GEX_TRUSTED_PROXIES",), "127.0.0.1, 10.0.0.0/8", ("127.0.0.1", "10.0.0.0/8")),
    ("cors_origins", ("GEX_CORS_ORIGINS", "CORS_ORIGINS"), "https://a.b, https://c.d,", ("https://a.b", "https://c.d")),
    ("api_key", ("GEX_API_KEY",), SECRET, SecretStr(SECRET)),
    ("allow_unauthenticated", ("GEX_ALLOW_UNAUTHENTICATED",), "1", True),
    ("rate_limit_gex", ("GEX_RATE_LIMIT_GEX", "RATE_LIMIT_GEX"), "100/minute", "100/minute"),
    ("rate_limit_history", ("GEX_RATE_LIMIT_HISTORY", "RATE_LIMIT_HISTORY"), "1/second", "1/second"),
    ("rate_limit_webhook", ("GEX_RATE_LIMIT_WEBHOOK", "RATE_LIMIT_WEBHOOK"), "9/day", "9/day"),
    ("log_level", ("GEX_LOG_LEVEL", "LOG_LEVEL"), "DEBUG", "debug"),
    ("log_dir", ("GEX_LOG_DIR",), "logs", Path("logs")),
    ("log_file", ("GEX_LOG_FILE", "LOG_FILE"), "gex.log", Path("gex.log")),
    ("history_hosts", ("GEX_HISTORY_HOSTS",), "Gex.Bot, a.b:80,[::1]:1", ("gex.bot", "a.b:80", "[::1]:1")),
    ("feeds", ("GEX_FEEDS",), "NQ_NDX:zero, spx:gex_full@2023-01-03", FEEDS),
    ("gexbot_api_key", ("GEXBOT_API_KEY",), SECRET, SecretStr(SECRET)),
    ("gexbot_api_url", ("GEXBOT_API_URL",), "http://127.0.0.1:1/v2", "http://127.0.0.1:1/v2"),
    ("gexbot_auth_scheme", ("GEXBOT_AUTH_SCHEME",), "Basic", "Basic"),
    ("max_import_attempts", ("GEX_MAX_IMPORT_ATTEMPTS", "MAX_IMPORT_ATTEMPTS"), "7", 7),
    ("import_timeout_seconds", ("GEX_IMPORT_TIMEOUT", "IMPORT_TIMEOUT"), "60", 60),
    ("backup_max_age_hours", ("GEX_BACKUP_MAX_AGE_HOURS",), "0.5", 0.5),
    ("backup_keep", ("GEX_BACKUP_KEEP",), "3", 3),
    ("backup_keep_days", ("GEX_BACKUP_KEEP_DAYS",), "0", 0.0),
    ("notify_urls", ("GEX_NOTIFY_URLS",), f"slack://{SECRET}, ntfy://x", (SecretStr(f"slack://{SECRET}"), SecretStr("ntfy://x"))),
    ("silent_feed_minutes", ("GEX_SILENT_FEED_MINUTES",), "0.5", 0.5),
    ("backlog_minutes", ("GEX_BACKLOG_MINUTES",), "15", 15.0),
    ("disk_low_gb", ("GEX_DISK_LOW_GB",), "20", 20.0),
    ("dagster_postgres_url", ("GEX_DAGSTER_POSTGRES_URL",), "postgresql://u:p@h/d", SecretStr("postgresql+psycopg2://u:p@h/d")),
    ("run_keep_days", ("GEX_RUN_KEEP_DAYS",), "30", 30.0),
    ("staging_keep_days", ("GEX_STAGING_KEEP_DAYS",), "0", 0.0),
    ("dagster_home", ("DAGSTER_HOME",), "/srv/dagster", Path("/srv/dagster")),
]  # fmt: skip
SSL = {"ssl_certfile": ("GEX_SSL_CERTFILE",), "ssl_keyfile": ("GEX_SSL_KEYFILE",)}
POLLING = {"poll_feeds": ("GEX_POLL_FEEDS",)}  # tested with the poller
EACH_NAME = [(setting, name, text, value) for setting, names, text, value in VARIABLES for name in names]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and none of the variables set."""
    known = {name.upper() for names in variable_names().values() for name in names}
    for name in list(os.environ):
        if name.upper() in known:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def the_error(**flags: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(**flags)
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in message + repr(refused.value.__cause__) + repr(refused.value.args)
    return message


def test_every_setting_is_tested_here_under_every_name() -> None:
    assert {setting: names for setting, names, _, _ in VARIABLES} | SSL | POLLING == variable_names()


def test_the_defaults_are_loopback_and_need_no_variable() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.dagster_port, settings.data_dir) == (
        "127.0.0.1",
        8877,
        3000,
        Path("data"),
    )
    assert settings.history_hosts == ("hist.gex.bot", "hist.gexbot.com", "nfagexbotresearch.blob.core.windows.net")
    assert settings.gexbot_api_url == "https://api.gex.bot/v2"
    assert (settings.api_key, settings.gexbot_api_key, settings.notify_urls, settings.feeds) == (None, None, (), ())
    assert (settings.rate_limit_gex, settings.rate_limit_history, settings.rate_limit_webhook) == (None, None, None)


# Where a value comes from


@pytest.mark.parametrize(("setting", "name", "text", "value"), EACH_NAME)
def test_a_variable_is_read_under_each_of_its_names(
    setting: str, name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), setting) == value


@pytest.mark.parametrize(("setting", "name", "text", "value"), EACH_NAME)
def test_dot_env_is_read_under_each_name(setting: str, name: str, text: str, value: object, folder: Path) -> None:
    (folder / ".env").write_text(f"# a comment\nSOMETHING_ELSE=1\nGEX_UNHEARD_OF=1\n{name}={text}\n")
    assert getattr(load_settings(), setting) == value


@pytest.mark.parametrize(("setting", "names", "text", "value"), VARIABLES)
def test_an_empty_variable_is_an_unset_one(
    setting: str, names: tuple[str, ...], text: str, value: object, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    for name in names:
        monkeypatch.setenv(name, "")
    assert getattr(load_settings(), setting) == Settings.model_fields[setting].default
    (folder / ".env").write_text(f"{names[0]}={text}\n")
    assert getattr(load_settings(), setting) == value
    (folder / ".env").write_text("".join(f"{name}=\n" for name in names))
    assert getattr(load_settings(), setting) == Settings.model_fields[setting].default


@pytest.mark.parametrize(
    ("setting", "names", "text", "value"), [variable for variable in VARIABLES if len(variable[1]) > 1]
)
def test_the_gex_name_wins_over_the_old_one_unless_it_is_empty(
    setting: str, names: tuple[str, ...], text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = names
    assert new.startswith("GEX_")
    monkeypatch.setenv(old, "not even valid")
    monkeypatch.setenv(new, text)
    assert getattr(load_settings(), setting) == value
    monkeypatch.setenv(old, text)
    monkeypatch.setenv(new, "")
    assert getattr(load_settings(), setting) == value


@pytest.mark.parametrize("in_file", ["GEX_PORT", "PORT"])
@pytest.mark.parametrize("in_environment", ["GEX_PORT", "PORT"])
def test_flags_win_over_variables_and_variables_over_dot_env(
    in_file: str, in_environment: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (folder / ".env").write_text(f"{in_file}=1\n")
    assert load_settings().port == 1
    monkeypatch.setenv(in_environment, "2")
    assert load_settings().port == 2
    assert load_settings(port=3).port == 3


def test_a_flag_that_was_not_given_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_PORT", "2")
    assert load_settings(port=None, data_dir=None, log_level=None) == load_settings()


# What is refused


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GEX_PORT", "http"),
        ("GEX_PORT", "-1"),
        ("GEX_PORT", "65536"),
        ("GEX_PORT", "1.5"),
        ("GEX_DAGSTER_PORT", "x"),
        ("GEX_TIMEOUT_KEEP_ALIVE", "0"),
        ("GEX_MAX_IMPORT_ATTEMPTS", "0"),
        ("GEX_MAX_IMPORT_ATTEMPTS", "21"),
        ("GEX_IMPORT_TIMEOUT", "soon"),
        ("GEX_LOG_LEVEL", "loud"),
        ("GEX_ALLOW_UNAUTHENTICATED", "maybe"),
        ("GEX_RATE_LIMIT_GEX", "100"),
        ("GEX_RATE_LIMIT_HISTORY", "100/fortnight"),
        ("GEX_RATE_LIMIT_WEBHOOK", "-1/minute"),
        ("GEX_FEEDS", "NQ_NDX"),
        ("GEX_FEEDS", "SPX:gex_zero,../x:gex_zero"),
        ("GEXBOT_AUTH_SCHEME", "Digest"),
        ("GEX_TIMEOUT_REQUEST", "0"),
        ("GEX_TRUSTED_PROXIES", "proxy.example"),
    ],
)
def test_a_wrong_value_ends_in_one_line_that_names_it(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert the_error().startswith(f"{name}={text}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SPX:gex_zero@soon", "first day of SPX:gex_zero: got soon, expected a day such as 2025-11-14"),
        ("SPX:gex_zero@2021-12-31", "the first day of SPX:gex_zero is 2021-12-31, and days begin with 2022-01-03"),
        ("SPX:gex_zero, SPX:zero@2023-01-03", "SPX:gex_zero has more than one first day"),
    ],
)
def test_a_wrong_first_day_of_a_feed_says_what_is_wrong_with_it(text: str, told: str) -> None:
    assert the_error(feeds=text) == f"GEX_FEEDS={text}: {told}"


@pytest.mark.parametrize("text", ["https://hist.gex.bot/?sig=SECRET", "hist.gex.bot,*", "user@hist.gex.bot"])
def test_a_wrong_history_host_is_named_without_its_query_string(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_HISTORY_HOSTS", text)
    message = the_error()
    assert message.startswith("GEX_HISTORY_HOSTS: ")
    assert text.rsplit(",", maxsplit=1)[-1].partition("?")[0] in message
    assert "SECRET" not in message


@pytest.mark.parametrize("text", [b"GEX_PORT=80\xff\n", b'GEX_PORT="1\n2"\n'])
def test_a_broken_env_file_is_told_in_one_line(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(text)
    assert "\n" not in the_error()


def test_a_wrong_old_variable_and_a_wrong_flag_are_named_by_the_variable_to_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert the_error(port=70_000).startswith("GEX_PORT=70000: ")
    monkeypatch.setenv("PORT", "http")
    assert the_error().startswith("GEX_PORT=http: ")


def test_a_wrong_value_in_dot_env_is_named_too(folder: Path) -> None:
    (folder / ".env").write_text("GEX_LOG_LEVEL=loud\n")
    assert the_error().startswith("GEX_LOG_LEVEL=loud: ")


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_PORT", "x")
    monkeypatch.setenv("GEX_LOG_LEVEL", "loud")
    message = the_error()
    assert "GEX_PORT=x: " in message
    assert "; GEX_LOG_LEVEL=loud: " in message


def test_an_error_shows_no_secret_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEX_API_KEY", SECRET)
    monkeypatch.setenv("GEXBOT_API_KEY", SECRET)
    monkeypatch.setenv("GEX_NOTIFY_URLS", f"discord://{SECRET}")
    for flags in ({"port": "x"}, {"ssl_certfile": "/absent"}, {"port": "x", "log_level": "loud", "feeds": "x"}):
        the_error(**flags)


@pytest.mark.parametrize(
    ("setting", "wrong", "variable"),
    [
        ("api_key", [SECRET], "GEX_API_KEY"),
        ("api_key", SECRET.encode() + b"\xff", "GEX_API_KEY"),
        ("gexbot_api_key", {SECRET: 1}, "GEXBOT_API_KEY"),
        ("notify_urls", {SECRET: 1}, "GEX_NOTIFY_URLS"),
        ("notify_urls", [SECRET, 5], "GEX_NOTIFY_URLS"),
        ("notify_urls", [[SECRET]], "GEX_NOTIFY_URLS"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(setting: str, wrong: object, variable: str) -> None:
    assert the_error(**{setting: wrong}).startswith(f"{variable}: ")


def test_secrets_show_in_no_rendering_of_the_settings() -> None:
    settings = load_settings(api_key=SECRET, gexbot_api_key=SECRET, notify_urls=f"slack://{SECRET}")
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == SECRET
    assert SECRET not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


# Who may reach the gateway


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load_settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gex.example.org", "127.0.0.1.example.org", ""])  # noqa: S104
def test_any_other_host_needs_a_key_or_the_word_that_none_is_wanted(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = the_error(host=host)
    assert message.startswith(f"GEX_HOST={host} is reachable from other machines")
    assert "GEX_API_KEY" in message
    assert "GEX_ALLOW_UNAUTHENTICATED=1" in message
    with pytest.raises(SettingsError):
        load_settings(host=host, gexbot_api_key=SECRET)
    with pytest.raises(SettingsError):
        load_settings(host=host, allow_unauthenticated=False)
    assert load_settings(host=host, api_key=SECRET).host == host
    assert load_settings(host=host, allow_unauthenticated=True).host == host
    monkeypatch.setenv("HOST", host or "0.0.0.0")  # noqa: S104
    monkeypatch.setenv("GEX_API_KEY", "")
    the_error()


def test_certificate_and_key_belong_together_and_are_files(folder: Path) -> None:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_text("")
    assert "belong together" in the_error(ssl_certfile=certificate)
    assert "belong together" in the_error(ssl_keyfile=certificate)
    assert the_error(ssl_certfile=certificate, ssl_keyfile=key) == f"GEX_SSL_KEYFILE={key} is not a file"
    assert the_error(ssl_certfile=folder, ssl_keyfile=certificate) == f"GEX_SSL_CERTFILE={folder} is not a file"
    key.write_text("")
    assert load_settings(ssl_certfile=certificate, ssl_keyfile=key).ssl_keyfile == key


def test_certificate_and_key_are_read_from_their_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, (name,) in SSL.items():
        (folder / setting).write_text("")
        monkeypatch.setenv(name, setting)
    settings = load_settings()
    assert (settings.ssl_certfile, settings.ssl_keyfile) == (Path("ssl_certfile"), Path("ssl_keyfile"))


# Folders


def test_every_folder_is_below_the_data_folder_unless_it_is_named() -> None:
    settings = load_settings(data_dir="/srv/gex")
    assert [
        settings.database_path, settings.journal_dir, settings.quarantine_dir, settings.backups_dir,
        settings.source_dir, settings.staging_path, settings.parquet_path, settings.dagster_home_path,
    ] == [
        Path("/srv/gex") / name
        for name in (
            "gex_data.db", "journal", "quarantine", "backups", "source/gexbot", "staging", "parquet", "dagster",
        )
    ]  # fmt: skip
    named = load_settings(data_dir="/srv/gex", staging_dir="/s", parquet_dir="/p", dagster_home="/d")
    assert (named.staging_path, named.parquet_path, named.dagster_home_path) == (Path("/s"), Path("/p"), Path("/d"))


def test_dagster_and_child_processes_are_given_absolute_folders(folder: Path) -> None:
    settings = load_settings(data_dir="here")
    assert settings.dagster_home_path == folder / "here" / "dagster"
    environment = environment_for_children(settings)
    assert environment["GEX_DATA_DIR"] == str(folder / "here")
    assert environment["DAGSTER_HOME"] == str(folder / "here" / "dagster")
    assert environment["PATH"] == os.environ["PATH"]


def test_a_folder_that_can_be_written_is_created_and_left_empty(folder: Path) -> None:
    for _ in range(2):
        require_writable(folder / "data" / "journal")
    assert list((folder / "data" / "journal").iterdir()) == []


@pytest.mark.parametrize("below", [".", "data", "data/journal"])
def test_a_folder_that_cannot_be_written_ends_in_one_line_that_names_it(below: str, folder: Path) -> None:
    (folder / "file").write_text("")
    unwritable = folder / "file" / below
    with pytest.raises(SettingsError) as refused:
        require_writable(unwritable)
    assert str(unwritable) in str(refused.value)
    assert "cannot be written" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_setting_is_a_permanent_error() -> None:
    assert issubclass(SettingsError, PermanentError)
