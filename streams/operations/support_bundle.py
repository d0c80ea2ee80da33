"""Settings, logs and metrics of workers → a zip for somebody who helps, without personal data.

Every part is made of what is allowed, never by taking away what is not: of a log line the fields
that our own code fills, of a dead letter its topic, stage and reason, of a setting that is a secret
whether it is set.
"""

import json
import platform
import re
import urllib.request
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined] # its
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from schemas.reasons import Reason
from schemas.topics import TOPICS
from streams import metrics as own_metrics
from streams.kafka.dead_letter import OURS
from streams.operations.dead_letters import dead_events, read_letters
from streams.operations.doctor import examine
from streams.operations.lag import measure
from streams.settings import Settings

ANSWER_S: Final = 10.0
"""Longest wait for a worker or for Kafka to answer."""
MAX_METRICS: Final = 4 << 20
"""Bytes of a worker's metrics."""
STAGES: Final = ("intake", "screen", "explain", "learn", "console", "deliver")
OTHER: Final = "other"
"""In place of a topic, a stage or a reason that is none of ours."""
TIME: Final = re.compile(r"[\d:.TZ+-]{10,40}", re.ASCII)
SHA256: Final = re.compile(r"[0-9a-f]{64}")
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "critical"})
SERVICES: Final = frozenset(
    {
        "Kafka",
        "schema registry",
        "past inspections",
        "declaration",
        "signals",
        "photos",
        "heat map",
        "case management",
    }
)
LIBRARIES: Final = ("aiokafka", "asyncio", "aiohttp", "faust", "mode", "redis", "uvicorn")
"""Whose loggers are named; what their lines say is left out."""
SAID: Final = re.compile(r"log\.(?:debug|info|warning|error|exception)\(\s*\"([^\"{]+)\"")
"""A line of our log, in our code."""
LOG_NUMBERS: Final = frozenset(
    {"partition", "offset", "count", "attempt", "wait_s", "next", "first", "within_s", "partitions"}
)
"""Fields that are kept where they are numbers."""
SECRETS: Final = frozenset({"s3_access_key_id", "kafka_username"})
"""Settings that are treated as secrets though their type is none."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the bundle."""

    name: str
    what: str
    """For a person."""
    content: bytes


def collect(
    settings: Settings,
    *,
    metrics: Iterable[str] = (),
    logs: Iterable[Path] = (),
    lines: int = 1000,
) -> list[Part]:
    """Collect every part; one that fails says by which kind of error, and no more.

    Args:
        settings: of the services.
        metrics: URLs of workers' metrics.
        logs: files of workers' logs.
        lines: of each, the last so many.
    """
    made: list[tuple[str, str, Callable[[], Any]]] = [
        ("versions.json", "of Redlane, Python and libraries", versions),
        ("settings.json", "without the values of secrets", lambda: shown_settings(settings)),
        ("doctor.json", "what works and what does not", lambda: _findings(settings)),
        ("lag.json", "events that wait, by partition", lambda: _lag(settings)),
        ("topics.json", "their partitions and what is set on them", lambda: topics(settings)),
        ("dead-letters.json", "numbers by topic, stage and reason", lambda: _letters(settings)),
    ]
    for number, url in enumerate(metrics):
        made.append(
            (f"metrics-{number}.json", "of a worker", lambda url=url: worker_metrics(url))  # type: ignore[misc]
        )
    for number, path in enumerate(logs):
        made.append(
            (
                f"log-{number}.json",
                "last lines, of these only what our code fills in",
                lambda path=path: log_lines(path, lines),  # type: ignore[misc]
            )
        )
    parts = []
    for name, what, make in made:
        try:
            content, note = make(), what
        except Exception as error:  # noqa: BLE001 - the others may work, and it says which kind
            content, note = {"failed": type(error).__name__}, f"left out: {type(error).__name__}"
        parts.append(Part(name, note, json.dumps(content, indent=1, default=str).encode()))
    contents = {part.name: part.what for part in parts}
    about = {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), "contents": contents}
    return [Part("contents.json", "this list", json.dumps(about, indent=1).encode()), *parts]


def write(path: Path, parts: Sequence[Part]) -> None:
    """Write the parts into a new zip that others on this machine may not read.

    Raises:
        OSError: it cannot be written, or exists.
    """
    path.touch(mode=0o600, exist_ok=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for part in parts:
            bundle.writestr(part.name, part.content)


def versions() -> dict[str, str]:
    """Return the versions of Redlane, of Python and of the libraries that it uses."""
    found = {"redlane": version("redlane"), "python": platform.python_version()}
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    for requirement in requires("redlane") or ():
        (name, *_) = re.findall(r"^[\w.-]+", requirement)
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed here
    return found


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings as others may see them: of a secret whether it is set.

    Of an address the user and the password are left out, of a file and a folder its path.
    """
    shown = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            shown[name] = "set" if value.get_secret_value() else "not set"
        elif isinstance(value, Path) or name in SECRETS:
            shown[name] = "set" if value else "not set"
        elif isinstance(value, str) and "://" in value:
            shown[name] = _without_user(value)
        else:
            shown[name] = value
    return shown


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _findings(settings: Settings) -> list[dict[str, str | None]]:
    """Return what the doctor found; the text of a client's error only as far as it is ours."""
    return [
        {
            "part": finding.part,
            "well": "yes" if finding.problem is None else "no",
            "problem": None if finding.problem is None else _without_secrets(finding, settings),
            "remedy": finding.remedy,
        }
        for finding in examine(settings)
    ]


def _without_secrets(finding: Any, settings: Settings) -> str:
    """Return the problem, with every value of a secret, and every user of an address, replaced."""
    text = re.sub(r"://[^/@\s]*@", "://…@", str(finding.problem))
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        secret = value.get_secret_value() if isinstance(value, SecretStr) else ""
        secret = str(value) if name in SECRETS else secret
        if secret:
            text = text.replace(secret, "…")
    return text


def _lag(settings: Settings) -> list[dict[str, Any]]:
    return [group.figures(partitions=True) for group in measure(settings)]


def topics(settings: Settings) -> dict[str, Any]:
    """Return the partitions of our topics, and the configuration that somebody set on them."""
    admin = AdminClient(settings.confluent() | {"log_level": 0})
    cluster = admin.list_topics(timeout=ANSWER_S)
    there = [name for name in TOPICS if name in cluster.topics]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    described = {
        resource.name: future.result(timeout=ANSWER_S)
        for resource, future in admin.describe_configs(resources, request_timeout=ANSWER_S).items()
    }
    found: dict[str, Any] = {"brokers": len(cluster.brokers)}
    for name in TOPICS:
        found[name] = None
        if name in described:
            partitions = cluster.topics[name].partitions.values()
            found[name] = {
                "partitions": len(partitions),
                "replicas": sorted({len(each.replicas) for each in partitions}),
                "in_sync_at_least": min((len(each.isrs) for each in partitions), default=0),
                "config": {
                    key: entry.value
                    for key, entry in sorted(described[name].items())
                    if not entry.is_default and not entry.is_sensitive
                },
            }
    return found


def _letters(settings: Settings) -> list[dict[str, Any]]:
    """Count the events that could not be processed, by what is ours of their letters."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for dead in dead_events(read_letters(settings)):
        letter = dead.letter
        stages = (value for name, value in letter.headers if name == f"{OURS}stage")
        stage = next(stages, b"").decode(errors="replace")
        counts[
            letter.topic if letter.topic in TOPICS else OTHER,
            stage if stage in STAGES else OTHER,
            letter.reason if letter.reason in set(Reason) else OTHER,
        ] += 1
    return [
        {"topic": topic, "stage": stage, "reason": reason, "events": count}
        for (topic, stage, reason), count in sorted(counts.items())
    ]


def worker_metrics(url: str) -> list[dict[str, Any]]:
    """Return the metrics of a worker that are ours, or of its process.

    Raises:
        OSError: it does not answer.
        ValueError: its answer is none, or the URL is no HTTP.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("not HTTP")
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:  # noqa: S310 - HTTP alone
        text = answer.read(MAX_METRICS).decode()
    known = _known_metrics()
    return [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in text_string_to_metric_families(text)
        if family.name in known
        for sample in family.samples
        if sample.labels.keys() <= known[family.name] | {"le", "quantile"}
        and all(map(_is_plain, sample.labels.values()))
    ]


def _known_metrics() -> dict[str, set[str]]:
    """Return the names of the metrics of a worker, and the labels that each may have."""
    labels = {
        metric._name: set(metric._labelnames)  # noqa: SLF001 - the library tells it nowhere else
        for metric in vars(own_metrics).values()
        if hasattr(metric, "_labelnames")
    }
    for family in REGISTRY.collect():
        if family.name.startswith(("process_", "python_")):
            labels[family.name] = {"generation", "implementation", "major", "minor", "patchlevel"}
            labels[family.name] |= {"version"}
    return labels


def _is_plain(label: str) -> bool:
    """Whether a label's value looks like one of ours: a code, a number, a kind of contents."""
    return re.fullmatch(r"[a-z0-9_.+\- ]{0,60}|\+Inf|CPython", label, re.ASCII) is not None


def log_lines(path: Path, last: int) -> list[dict[str, Any]]:
    """Return the last lines of a log, of each the fields that our code fills in.

    A line of another program, or that is no JSON, is counted and left out.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        newest = deque(file, maxlen=last)
    allowed = log_fields()
    kept, others = [], 0
    for line in newest:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if isinstance(fields, dict):
            kept.append(dict(_kept(fields, allowed)))
        else:
            others += 1
    return [*kept, {"other_lines": others}]


def log_fields() -> dict[str, Callable[[str], object]]:
    """Return the fields of a log line that are kept, and what each may hold: no more than ours."""
    code = Path(own_metrics.__file__).parent
    said = {text for path in code.rglob("*.py") for text in SAID.findall(path.read_text())}
    errors = {kind.__name__ for kind in _kinds(BaseException)}
    ours = {
        ".".join(path.relative_to(code.parent).with_suffix("").parts) for path in code.rglob("*.py")
    }
    reasons = {str(reason) for reason in Reason}
    return {
        "timestamp": TIME.fullmatch,
        "level": LEVELS.__contains__,
        "logger": (ours | {*LIBRARIES}).__contains__,
        "event": said.__contains__,
        "error": errors.__contains__,
        "reason": reasons.__contains__,
        "stage": STAGES.__contains__,
        "service": SERVICES.__contains__,
        "topic": TOPICS.__contains__,
        "bundle_id": SHA256.fullmatch,
    }


def _kinds(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    """Yield a kind of error and all that are derived from it."""
    yield kind
    for derived in type.__subclasses__(kind):
        yield from _kinds(derived)


def _kept(
    fields: Mapping[str, Any], allowed: Mapping[str, Callable[[str], object]]
) -> Iterator[tuple[str, Any]]:
    """Yield what is kept of a log line: an ellipsis in place of what our code does not write."""
    for name, value in fields.items():
        if name in LOG_NUMBERS and isinstance(value, int | float):
            yield name, value
        elif name == "logger" and str(value).partition(".")[0] in LIBRARIES:
            yield name, str(value).partition(".")[0]
        elif name in allowed:
            yield name, value if isinstance(value, str) and allowed[name](value) else "…"
