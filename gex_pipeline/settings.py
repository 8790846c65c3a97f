"""Every setting of the system as one validated object, built once at start-up and passed on."""

import ipaddress
import os
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gex_pipeline.errors import PermanentError, RecordError
from gex_pipeline.feeds import Feed, WantedFeed
from gex_pipeline.trading_days import FIRST_DAY

POSTGRES_URL = "GEX_DAGSTER_POSTGRES_URL"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_HOST = re.compile(r"[a-z0-9.-]+(:\d{1,5})?|\[[0-9a-f:]+\](:\d{1,5})?")
_RATE = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)")

Names = Annotated[tuple[str, ...], NoDecode]


class SettingsError(PermanentError):
    """A setting has a value that cannot be used; the text is one line that names it."""


def _names(*names: str) -> AliasChoices:
    """Accept a value under these variable names, the first that is set winning."""
    return AliasChoices(*names)


class Settings(BaseSettings):
    """What the flags, the environment and `.env` say, checked.

    Variables win over `.env`, flags over variables. Directories are relative to the working directory.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    data_dir: Path = Field(Path("data"), validation_alias=_names("GEX_DATA_DIR", "DATA_DIR"))
    staging_dir: Path | None = Field(None, validation_alias=_names("GEX_STAGING_DIR", "STAGING_DIR"))
    parquet_dir: Path | None = Field(None, validation_alias=_names("GEX_PARQUET_DIR", "PARQUET_DIR"))

    host: str = Field("127.0.0.1", validation_alias=_names("GEX_HOST", "HOST"))
    port: int = Field(8877, ge=0, le=65535, validation_alias=_names("GEX_PORT", "PORT"))
    dagster_port: int = Field(3000, ge=0, le=65535, validation_alias=_names("GEX_DAGSTER_PORT"))
    dagster_url: str | None = Field(None, pattern=r"^https?://", validation_alias=_names("GEX_DAGSTER_URL"))
    timeout_keep_alive: int = Field(75, ge=1, le=3600, validation_alias=_names("GEX_TIMEOUT_KEEP_ALIVE"))
    timeout_request: int = Field(30, ge=1, le=3600, validation_alias=_names("GEX_TIMEOUT_REQUEST"))
    trusted_proxies: Names = Field((), validation_alias=_names("GEX_TRUSTED_PROXIES"))
    ssl_certfile: Path | None = Field(None, validation_alias=_names("GEX_SSL_CERTFILE"))
    ssl_keyfile: Path | None = Field(None, validation_alias=_names("GEX_SSL_KEYFILE"))
    cors_origins: Names = Field(
        ("https://gexbot.com", "https://www.gexbot.com", "https://unusualwhales.com"),
        validation_alias=_names("GEX_CORS_ORIGINS", "CORS_ORIGINS"),
    )
    api_key: SecretStr | None = Field(None, validation_alias=_names("GEX_API_KEY"))
    allow_unauthenticated: bool = Field(False, validation_alias=_names("GEX_ALLOW_UNAUTHENTICATED"))
    rate_limit_gex: str | None = Field(None, validation_alias=_names("GEX_RATE_LIMIT_GEX", "RATE_LIMIT_GEX"))
    rate_limit_history: str | None = Field(
        None, validation_alias=_names("GEX_RATE_LIMIT_HISTORY", "RATE_LIMIT_HISTORY")
    )
    rate_limit_webhook: str | None = Field(
        None, validation_alias=_names("GEX_RATE_LIMIT_WEBHOOK", "RATE_LIMIT_WEBHOOK")
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias=_names("GEX_LOG_LEVEL", "LOG_LEVEL")
    )
    log_dir: Path | None = Field(None, validation_alias=_names("GEX_LOG_DIR"))
    log_file: Path | None = Field(None, validation_alias=_names("GEX_LOG_FILE", "LOG_FILE"))

    history_hosts: Names = Field(
        ("hist.gex.bot", "hist.gexbot.com", "nfagexbotresearch.blob.core.windows.net"),
        validation_alias=_names("GEX_HISTORY_HOSTS"),
    )
    feeds: Annotated[tuple[WantedFeed, ...], NoDecode] = Field((), validation_alias=_names("GEX_FEEDS"))
    poll_feeds: Annotated[tuple[Feed, ...], NoDecode] = Field((), validation_alias=_names("GEX_POLL_FEEDS"))
    gexbot_api_key: SecretStr | None = Field(None, validation_alias=_names("GEXBOT_API_KEY"))
    gexbot_api_url: str = Field("https://api.gex.bot/v2", validation_alias=_names("GEXBOT_API_URL"))
    gexbot_auth_scheme: Literal["Bearer", "Basic"] = Field("Bearer", validation_alias=_names("GEXBOT_AUTH_SCHEME"))
    max_import_attempts: int = Field(
        3, ge=1, le=20, validation_alias=_names("GEX_MAX_IMPORT_ATTEMPTS", "MAX_IMPORT_ATTEMPTS")
    )
    import_timeout_seconds: int = Field(3600, ge=1, validation_alias=_names("GEX_IMPORT_TIMEOUT", "IMPORT_TIMEOUT"))
    backup_max_age_hours: float = Field(24.0, ge=0, validation_alias=_names("GEX_BACKUP_MAX_AGE_HOURS"))
    backup_keep: int = Field(7, ge=1, validation_alias=_names("GEX_BACKUP_KEEP"))
    backup_keep_days: float = Field(30.0, ge=0, validation_alias=_names("GEX_BACKUP_KEEP_DAYS"))
    notify_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field((), validation_alias=_names("GEX_NOTIFY_URLS"))
    silent_feed_minutes: float = Field(5.0, ge=0, le=1e6, validation_alias=_names("GEX_SILENT_FEED_MINUTES"))
    backlog_minutes: float = Field(5.0, gt=0, le=1e6, validation_alias=_names("GEX_BACKLOG_MINUTES"))
    disk_low_gb: float = Field(5.0, ge=0, le=1e6, validation_alias=_names("GEX_DISK_LOW_GB"))
    dagster_postgres_url: SecretStr | None = Field(None, validation_alias=_names(POSTGRES_URL))
    run_keep_days: float = Field(90.0, ge=0, le=1e5, validation_alias=_names("GEX_RUN_KEEP_DAYS"))
    staging_keep_days: float = Field(14.0, ge=0, le=1e5, validation_alias=_names("GEX_STAGING_KEEP_DAYS"))
    dagster_home: Path | None = Field(None, validation_alias=_names("DAGSTER_HOME"))

    @field_validator("cors_origins", "trusted_proxies", "history_hosts", "notify_urls", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("history_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host.lower()):
                raise ValueError(f"{host.partition('?')[0]!r} is not a host or host:port")
        return tuple(host.lower() for host in hosts)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy)  # its error says what is wrong
        return proxies

    @field_validator("feeds", "poll_feeds", mode="before")
    @classmethod
    def _read_feeds(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        read = WantedFeed.parse if info.field_name == "feeds" else Feed.parse
        try:
            return tuple(dict.fromkeys(read(part.strip()) for part in value.split(",") if part.strip()))
        except RecordError as error:
            raise ValueError(str(error)) from error

    @field_validator("feeds")
    @classmethod
    def _check_first_days(cls, feeds: tuple[WantedFeed, ...]) -> tuple[WantedFeed, ...]:
        for each in feeds:
            if each.first is not None and each.first < FIRST_DAY:
                raise ValueError(f"the first day of {each.feed.key} is {each.first}, and days begin with {FIRST_DAY}")
        twice = [feed.key for feed, count in Counter(each.feed for each in feeds).items() if count > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} has more than one first day")
        return feeds

    @field_validator("rate_limit_gex", "rate_limit_history", "rate_limit_webhook")
    @classmethod
    def _check_rate(cls, value: str | None) -> str | None:
        if value is not None and not _RATE.fullmatch(value):
            raise ValueError("a rate such as 100/minute is expected")
        return value

    @field_validator("dagster_postgres_url")
    @classmethod
    def _name_driver(cls, value: SecretStr | None) -> SecretStr | None:
        """Name the driver that dagster-postgres brings along; SQLAlchemy would look for another one."""
        if value is None:
            return None
        scheme, separator, address = value.get_secret_value().partition("://")
        if scheme not in {"postgresql", "postgresql+psycopg2"} or not separator:
            raise ValueError("an address such as postgresql+psycopg2://user:password@host:5432/database is expected")
        return SecretStr(f"postgresql+psycopg2://{address}")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.host not in LOOPBACK_HOSTS and self.api_key is None and not self.allow_unauthenticated:
            raise ValueError(
                f"GEX_HOST={self.host} is reachable from other machines: set GEX_API_KEY, "
                "or GEX_ALLOW_UNAUTHENTICATED=1 to run open"
            )
        if self.poll_feeds and self.gexbot_api_key is None:
            raise ValueError("GEX_POLL_FEEDS needs GEXBOT_API_KEY")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("GEX_SSL_CERTFILE and GEX_SSL_KEYFILE belong together")
        for name in ("ssl_certfile", "ssl_keyfile"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"GEX_{name.upper()}={path} is not a file")
        return self

    @property
    def database_path(self) -> Path:
        """The one DuckDB file."""
        return self.data_dir / "gex_data.db"

    @property
    def journal_dir(self) -> Path:
        """Where captures are durable before they are answered."""
        return self.data_dir / "journal"

    @property
    def quarantine_dir(self) -> Path:
        """Where records that could not be understood are kept, each with the reason."""
        return self.data_dir / "quarantine"

    @property
    def conflicts_dir(self) -> Path:
        """Where observations are listed that differ from the stored ones."""
        return self.data_dir / "conflicts"

    @property
    def backups_dir(self) -> Path:
        """Where replaced files and replaced rows go."""
        return self.data_dir / "backups"

    @property
    def database_backups_dir(self) -> Path:
        """Where backups of the database are."""
        return self.backups_dir / "database"

    @property
    def reports_dir(self) -> Path:
        """Where audits say what they found."""
        return self.data_dir / "reports"

    @property
    def source_dir(self) -> Path:
        """Where downloaded history files are kept."""
        return self.data_dir / "source" / "gexbot"

    @property
    def staging_path(self) -> Path:
        """Where parsed history waits for its checks."""
        return self.staging_dir or self.data_dir / "staging"

    @property
    def parquet_path(self) -> Path:
        """Root of the published Parquet files."""
        return self.parquet_dir or self.data_dir / "parquet"

    @property
    def gateway_address(self) -> str:
        """Where the gateway answers on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        named = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{'https' if self.ssl_certfile else 'http'}://{named}:{self.port}"

    @property
    def dagster_address(self) -> str:
        """Where people find the Dagster UI, without a slash at its end."""
        return (self.dagster_url or f"http://127.0.0.1:{self.dagster_port}").rstrip("/")

    @property
    def dagster_home_path(self) -> Path:
        """Dagster's own storage, absolute as Dagster asks."""
        return (self.dagster_home or self.data_dir / "dagster").absolute()


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401 - values are checked by the model
    """Build the settings from flags (None means not given), the environment and `.env`.

    Raises:
        SettingsError: one line naming the variable, what it said and what was expected.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("; ".join(_one_line(dict(problem)) for problem in error.errors())) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f".env is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _one_line(problem: dict[str, Any]) -> str:
    """Say what is wrong with one setting; secrets are named, never shown."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    variable = variable_names().get(name, (name,))[0]
    given = problem["input"]
    secret = any(part in variable for part in ("KEY", "URLS", "HOSTS", "POSTGRES"))
    shown = f"={given}" if isinstance(given, str | int) and not secret else ""
    return " ".join(f"{variable}{shown}: {message}".split())


def variable_names() -> dict[str, tuple[str, ...]]:
    """Map each setting to its environment variables, the preferred one first."""
    aliases = {name: field.validation_alias for name, field in Settings.model_fields.items()}
    return {
        name: tuple(str(choice) for choice in alias.choices)
        for name, alias in aliases.items()
        if isinstance(alias, AliasChoices)
    }


def environment_for_children(settings: Settings) -> dict[str, str]:
    """Return the environment that hands these directories to a child process, whatever its working directory."""
    secret = settings.dagster_postgres_url
    return {
        **os.environ,
        **({POSTGRES_URL: secret.get_secret_value()} if secret else {}),
        "GEX_DATA_DIR": str(settings.data_dir.absolute()),
        "GEX_DAGSTER_PORT": str(settings.dagster_port),
        "DAGSTER_HOME": str(settings.dagster_home_path),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def require_writable(directory: Path) -> None:
    """Create a directory and prove that a file can be written in it.

    Raises:
        SettingsError: it cannot be created or written, and why.
    """
    probe = directory / f".writable-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SettingsError(f"the folder {directory} cannot be written: {error.strerror}") from error
