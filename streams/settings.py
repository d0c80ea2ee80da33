"""Every setting of every command, read once from the environment (REDLANE_…) and from files.

REDLANE_SECRETS_DIR names a folder whose files hold one setting each, under the name of its
variable: so a container gets its secrets. `redlane up` prints the settings of the services that
it starts.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from models.selection.policy import Budget
from streams.setting_types import Bucket, BucketOrNone, File, check_address

WEEK_S: Final = 7 * 86_400
SECRETS_DIR: Final = "REDLANE_SECRETS_DIR"


MOST_DAYS: Final = 36_500
"""Days that something is kept, at most."""


class NotConfigured(Exception):  # noqa: N818 - says what it is
    """A setting without a sensible default is missing or wrong."""


class Settings(BaseSettings):
    """Settings, each from the environment variable REDLANE_<NAME IN CAPITALS>."""

    model_config = SettingsConfigDict(env_prefix="REDLANE_", frozen=True, allow_inf_nan=False)

    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092", description="host:port, comma-separated"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    kafka_username: str = Field(default="", description="for SCRAM-SHA-512, with SASL_SSL")
    kafka_password: SecretStr = SecretStr("")
    kafka_ca_file: File | None = Field(default=None, description="PEM; the system's by default")
    kafka_certificate_file: File | None = Field(default=None, description="PEM, for mutual TLS")
    kafka_key_file: File | None = Field(default=None, description="PEM, for mutual TLS")
    kafka_compression: Literal["gzip", "lz4", "snappy", "zstd", "none"] = Field(
        default="gzip", description="of events that are published; every client reads gzip"
    )
    kafka_replication: int = Field(
        default=1, ge=1, description="of the topics that `redlane deploy` creates"
    )

    registry_url: str = Field(
        default="http://127.0.0.1:8081/apis/ccompat/v7",
        pattern="^https?://",
        description="Confluent-compatible",
    )
    registry_token: SecretStr = Field(
        default=SecretStr(""), description="with the right to register, for `redlane deploy` alone"
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="redis:// or, with TLS, rediss://, with USER:PASSWORD@ before the host",
    )
    redis_ca_file: File | None = Field(default=None, description="PEM; the system's by default")

    s3_endpoint: str = "http://127.0.0.1:8333"
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr = SecretStr("")
    s3_ca_file: File | None = Field(default=None, description="PEM; the system's by default")
    s3_region: str = "us-east-1"
    s3_buckets: Annotated[tuple[Bucket, ...], NoDecode] = Field(
        default=("goods-photos",),
        min_length=1,
        description="that photos may be read from, comma-separated",
    )
    s3_explanations_bucket: Bucket = Field(
        default="explanations", description="that heat maps are written to"
    )

    s3_intake_bucket: Bucket = Field(
        default="intake",
        description="that `redlane intake` keeps what it knows of declarations in",
    )
    intake_schemas: Annotated[tuple[File, ...], NoDecode] = Field(
        default=(),
        description="XML schemas (XSD) that customs messages must follow, comma-separated",
    )
    intake_wait_hours: float = Field(
        default=24.0, gt=0, description="that an amendment waits for its original"
    )

    deliver_url: str = Field(
        default="",
        description="that `redlane deliver` posts events to: https://, or http:// on this machine",
    )
    deliver_plain_http: bool = Field(
        default=False, description="allow http:// to other machines: all on the way read the events"
    )
    deliver_ca_file: File | None = Field(default=None, description="PEM; the system's by default")
    deliver_secret: SecretStr = Field(
        default=SecretStr(""),
        description="that webhooks are signed with, whsec_…; two, with a blank between, while one "
        "replaces the other",
    )
    deliver_topics: Annotated[tuple[Literal["alerts", "explanations"], ...], NoDecode] = Field(
        default=("alerts",), min_length=1, description="comma-separated"
    )
    deliver_timeout_s: float = Field(default=15.0, gt=0, description="for the receiver to answer")
    deliver_retry_s: float = Field(
        default=120.0, gt=0, description="that a receiver may fail; then the worker stops"
    )
    bundle: Path | None = Field(
        default=None, description="folder of the model bundle, as `redlane bundle` prints it"
    )
    threads: int = Field(
        default=1, ge=1, description="of an inference on the CPU; two run at a time"
    )
    consumer_group: str = "redlane-screen"
    intake_consumer_group: str = "redlane-intake"
    deliver_consumer_group: str = "redlane-deliver"
    learn_consumer_group: str = "redlane-learn"
    explain_consumer_group: str = "redlane-explain"
    audit_consumer_group: str = "redlane-audit"
    audit_anchors_bucket: BucketOrNone = Field(
        default="", description="that anchors of the decision log are written to; none by default"
    )
    audit_anchor_s: float = Field(default=3600.0, gt=0, description="between two anchors")
    health_host: str = "127.0.0.1"
    health_port: int = Field(
        default=6066,
        ge=0,
        le=65_535,
        description="of /livez, /readyz and /metrics; 0 for a free one",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    traces: Literal["off", "otlp", "console"] = Field(
        default="off", description="who gets the traces of events; needs the extra `tracing`"
    )
    traces_endpoint: str = Field(
        default="http://127.0.0.1:4318/v1/traces",
        pattern="^https?://",
        description="that takes OTLP over HTTP; what it wants to be sent besides is in "
        "OTEL_EXPORTER_OTLP_HEADERS",
    )
    traces_share: float = Field(
        default=1.0, ge=0, le=1, description="of the traces that is kept, the same for all workers"
    )

    pumps: int = Field(
        default=2, ge=1, description="micro-batches in flight; events of a key share a pump"
    )
    batch_size: int = Field(default=16, ge=1, description="most events of a micro-batch")
    batch_wait_ms: int = Field(
        default=20, ge=0, description="longest wait for a micro-batch to fill"
    )
    pseudonym_key: SecretStr = Field(
        default=SecretStr(""), description="of traders' names; the same for all workers"
    )
    selection_key: SecretStr = Field(
        default=SecretStr(""), description="of random selections; the same for all workers"
    )
    capacity: Budget | None = Field(
        default=None,
        description="of the inspectors, as shares of all declarations, in JSON: "
        '{"yellow": 0.08, "red": 0.02, "random": 0.01, "offices": {"BEANR000": {…}}}; '
        "without it the bundle's thresholds decide",
    )
    capacity_window_s: int = Field(
        default=3600, gt=0, description="for which thresholds hold; divides a week"
    )
    signals_ttl_days: int = Field(
        default=30, ge=1, le=MOST_DAYS, description="days a key survives without new observations"
    )
    photo_concurrency: int = Field(default=32, ge=1, description="photos fetched at a time")
    photo_deadline_s: float = Field(default=5.0, gt=0, description="for a photo, retries included")
    photo_max_bytes: int = Field(default=10_000_000, ge=1)
    photos_per_item: int = Field(
        default=4, ge=1, description="photos of a goods item that are used, at most"
    )
    cache_timeout_s: float = Field(default=0.5, gt=0, description="for a round trip to Redis")
    cache_pause_s: float = Field(default=5.0, ge=0, description="without Redis after a failure")
    cache_ttl_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    delivery_timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="for the broker to accept an event; a worker without a broker ends after it",
    )
    dead_letters_in_a_row: int = Field(
        default=50, ge=0, description="by our fault; more stop the worker"
    )
    dead_letter_share: float = Field(
        default=0.5, ge=0, description="of the last 200 events; more stop the worker"
    )
    stall_limit_s: float = Field(
        default=300.0, gt=0, description="without progress, stops the worker"
    )
    stop_within_s: float = Field(
        default=60.0,
        gt=0,
        description="for an orderly stop, then the process ends; less than the grace period of "
        "what supervises it",
    )

    console_database_url: SecretStr = Field(
        default=SecretStr(""),
        description="sqlite:///… or postgresql://…; else a SQLite file in the state directory",
    )
    console_consumer_group: str = "redlane-console"
    console_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "localhost"), description="that browsers may ask for, comma-separated"
    )
    console_buckets: Annotated[tuple[Bucket, ...], NoDecode] = Field(
        default=("explanations",), description="of heat maps, besides s3_buckets, comma-separated"
    )
    console_proxy_secret: SecretStr = Field(
        default=SecretStr(""), description="that the OIDC proxy sends with every request"
    )
    console_proxy_secret_header: str = "X-Redlane-Proxy-Secret"  # noqa: S105 - its name
    console_proxy_addresses: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="addresses or networks that the OIDC proxy calls from, comma-separated",
    )
    console_user_header: str = Field(
        default="X-Forwarded-User", description="identity from the OIDC proxy; never changes"
    )
    console_name_header: str = Field(
        default="X-Forwarded-Preferred-Username", description="name that colleagues see"
    )
    console_groups_header: str = Field(
        default="X-Forwarded-Groups", description="groups of the user, comma-separated"
    )
    console_roles: dict[str, Literal["viewer", "inspector", "supervisor"]] = Field(
        default={
            "redlane-viewer": "viewer",
            "redlane-inspector": "inspector",
            "redlane-supervisor": "supervisor",
        },
        description="group → role, in JSON; the strongest role counts",
    )
    console_time_zone: str = Field(default="Europe/Brussels", description="of times on the pages")

    def __init__(self, **values: Any) -> None:
        """Read files and the environment, which takes precedence; `values` precede both.

        Raises:
            NotConfigured: a value is not of its type. The message never quotes it: some are secret.
        """
        folder = os.environ.get(SECRETS_DIR)
        if folder and not Path(folder).is_dir():
            raise NotConfigured(f"Correct {SECRETS_DIR}: {folder} is no folder.")
        try:
            super().__init__(_secrets_dir=folder or None, **values)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            texts = (
                f"{_variable(fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in faults
            )
            raise NotConfigured(f"Correct {'; '.join(texts)}.") from None
        except RecursionError:
            raise NotConfigured(
                "Correct REDLANE_CAPACITY or REDLANE_CONSOLE_ROLES: it is nested too deeply."
            ) from None
        except SettingsError as error:  # names the setting
            raise NotConfigured(f"Correct the JSON of a setting: {error}.") from None

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            try:
                text.encode()
            except UnicodeEncodeError:  # the environment may hold any bytes
                raise ValueError("it is no UTF-8") from None
        return value

    @field_validator(
        "s3_buckets",
        "intake_schemas",
        "deliver_topics",
        "console_hosts",
        "console_buckets",
        "console_proxy_addresses",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _are_servers(cls, servers: str) -> str:
        for server in servers.split(","):
            check_address(f"kafka://{server.strip()}", ("kafka",))
        return ",".join(server.strip() for server in servers.split(","))

    @field_validator("registry_url", "s3_endpoint", "traces_endpoint")
    @classmethod
    def _is_url(cls, url: str) -> str:
        check_address(url, ("http", "https"))
        return url

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("unix://"):
            check_address(url.get_secret_value(), ("redis", "rediss"))
        return url

    @field_validator("capacity_window_s")
    @classmethod
    def _divides_a_week(cls, seconds: int) -> int:
        if WEEK_S % seconds:
            raise ValueError("a week must be a multiple of it")
        return seconds

    @field_validator("console_time_zone")
    @classmethod
    def _is_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone has this name") from None
        return name

    def required_bundle(self) -> Path:
        """Return the folder of the model bundle.

        Raises:
            NotConfigured: none is named.
        """
        if self.bundle is None:
            raise NotConfigured(
                "Set REDLANE_BUNDLE to the folder of a model bundle: `redlane bundle` builds one "
                "and prints where it is."
            )
        return self.bundle

    def secret_keys(self) -> dict[str, bytes]:
        """Return the keys that workers share: `pseudonym` and `selection`.

        Raises:
            NotConfigured: one is empty, or longer than 64 bytes.
        """
        given = {"pseudonym": self.pseudonym_key, "selection": self.selection_key}
        keys = {name: key.get_secret_value().encode() for name, key in given.items()}
        for name, key in keys.items():
            if not 0 < len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
                raise NotConfigured(
                    f"Set REDLANE_{name.upper()}_KEY: a secret of 1 to 64 bytes, the same for all "
                    "workers."
                )
        return keys

    def confluent(self) -> dict[str, str | int | float | bool]:
        """Return the connection settings as confluent-kafka takes them."""
        given = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "ssl.ca.location": self.kafka_ca_file,
            "ssl.certificate.location": self.kafka_certificate_file,
            "ssl.key.location": self.kafka_key_file,
        }
        if self.kafka_security_protocol == "SASL_SSL":
            given |= {
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": self.kafka_username,
                "sasl.password": self.kafka_password.get_secret_value(),
            }
        return {name: str(value) for name, value in given.items() if value is not None}

    def redis_tls(self) -> dict[str, Any]:
        """Return how the server's certificate is checked, as redis-py takes it."""
        if self.redis_ca_file is None or not self.redis_url.get_secret_value().startswith("rediss"):
            return {}
        return {"ssl_ca_certs": str(self.redis_ca_file)}


def _variable(place: tuple[int | str, ...]) -> str:
    """Return the environment variable of a setting, and the place inside its JSON."""
    name, *inside = map(str, place)
    return " ".join([f"REDLANE_{name.upper()}", *inside])
