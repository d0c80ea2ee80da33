"""Settings → what works and what does not, and what to do about it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined] # its
from redis import Redis

from models.scoring.bundle import check_released, verify
from schemas.topics import DECLARATIONS, TOPICS
from streams.kafka.contact import reach
from streams.kafka.origin import Refused
from streams.kafka.registry import Registry, RegistryFailed
from streams.kafka.unread import Unread
from streams.object_storage import NoSuchKey, ObjectStorage
from streams.operations import access
from streams.operations.lag import groups
from streams.settings import Settings
from streams.webhook import receiver

LOCALLY = "on this machine `redlane up` starts one"


class Unwell(Exception):  # noqa: N818 - says what it is
    """A part answers, but something is missing from it."""

    def __init__(self, problem: str, remedy: str | None = None) -> None:
        super().__init__(problem)
        self.remedy = remedy
        """None for that of the part."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part."""

    part: str
    detail: str = ""
    """For a part that works: what answered."""
    problem: str | None = None
    """None for a part that works."""
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Examine every part that a worker needs; never raises for a part that does not work."""
    address = "check REDLANE_{0} and run `redlane deploy`; " + LOCALLY
    examinations: tuple[tuple[str, Callable[[Settings], str], str], ...] = (
        ("Kafka", _kafka, address.format("KAFKA_BOOTSTRAP_SERVERS")),
        ("schema registry", _registry, address.format("REGISTRY_URL")),
        ("object storage", _storage, f"check REDLANE_S3_ENDPOINT, its keys and buckets; {LOCALLY}"),
        ("Redis", _redis, f"check REDLANE_REDIS_URL; {LOCALLY}. Workers run without it, slower"),
        (
            "secret keys",
            _keys,
            "set REDLANE_PSEUDONYM_KEY and REDLANE_SELECTION_KEY, the same for all workers",
        ),
        (
            "model bundle",
            _bundle,
            "build one with `redlane bundle` and set REDLANE_BUNDLE to the folder it prints",
        ),
    )
    if settings.deliver_url:
        remedy = (
            "check REDLANE_DELIVER_URL, REDLANE_DELIVER_SECRET, REDLANE_DELIVER_CA_FILE; the "
            "network must let this machine reach the receiver"
        )
        examinations = (*examinations, ("case management", _receiver, remedy))
    findings = []
    for part, look, remedy in examinations:
        try:
            findings.append(Finding(part, detail=look(settings)))
        except Exception as error:  # noqa: BLE001 - any error of a client is the finding
            first, *_ = [*str(error).splitlines(), type(error).__name__]
            own = error.remedy if isinstance(error, Unwell) else None
            findings.append(Finding(part, problem=first, remedy=own or remedy))
    return findings


def _kafka(settings: Settings) -> str:
    try:
        admin = reach(settings, within_s=5)
        access.check(admin, settings, "doctor")
        cluster = admin.list_topics(timeout=5)
    except Refused as error:
        raise Unwell(error.problem, error.remedy) from error
    except KafkaException as error:
        raise Unwell(error.args[0].str()) from error
    if missing := sorted(TOPICS.keys() - cluster.topics.keys()):
        raise Unwell(f"the topics {', '.join(missing)} are missing")
    if gaps := [gap for unread in _groups(settings) for gap in unread.gaps()]:
        raise Unwell(
            "; ".join(map(str, gaps)),
            "ask the senders for these events again; keep the topic for longer, or run more "
            "workers. It is gone from here once the workers have gone on",
        )
    if theirs := _dated_by_senders(admin):
        raise Unwell(
            f"the senders date the events of {', '.join(theirs)}, so a worker takes the time at "
            "which it first reads each: set message.timestamp.type=LogAppendTime there"
        )
    return f"{len(cluster.brokers)} broker(s), all {len(TOPICS)} topics"


def _groups(settings: Settings) -> tuple[Unread, ...]:
    return tuple(Unread(settings, group=group, topic=topic) for group, topic in groups(settings))


def _dated_by_senders(admin: AdminClient) -> list[str]:
    """Return the topics whose events the broker should date, but does not."""
    names = [topic.name for topic in TOPICS.values() if topic.timestamps == "broker"]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    described = {
        resource.name: future.result(timeout=5)["message.timestamp.type"].value
        for resource, future in admin.describe_configs(resources, request_timeout=5).items()
    }
    return [name for name in names if described[name] != "LogAppendTime"]


def _registry(settings: Settings) -> str:
    registry = Registry(settings.registry_url)
    try:
        ids = [registry.schema_id(topic) for topic in TOPICS.values() if topic.schema]
    except RegistryFailed as error:  # what to do is said in the remedy
        raise Unwell(str(error.__cause__)) from error
    found = f"{len(ids)} schemas; declarations have id {registry.schema_id(DECLARATIONS)}"
    if registry.everybody_may_register(DECLARATIONS):
        return f"{found}. Everybody may register schemas: see SECURITY.md"
    return found


def _storage(settings: Settings) -> str:
    asyncio.run(_ask_storage(settings))
    return f"{settings.s3_endpoint}, {', '.join(settings.s3_buckets)}"


async def _ask_storage(settings: Settings) -> None:
    storage = ObjectStorage(settings)
    try:
        for bucket in settings.s3_buckets:
            try:
                await storage.bucket(bucket).read(".redlane-doctor", max_bytes=0)
            except NoSuchKey:
                continue  # it answered, and our keys may read
            except OSError as error:
                problem = str(error) or type(error).__name__
                raise Unwell(f"bucket {bucket}: {problem}") from error
    finally:
        await storage.close()


def _redis(settings: Settings) -> str:
    url = settings.redis_url.get_secret_value()
    tls = settings.redis_tls()
    with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3, **tls) as redis:
        version = redis.info("server")["redis_version"]
    return f"answers, version {version}"


def _keys(settings: Settings) -> str:
    return f"{len(settings.secret_keys())} are set"


def _receiver(settings: Settings) -> str:
    return f"{receiver.reach(settings, within_s=5)} answers; nothing was posted"


def _bundle(settings: Settings) -> str:
    bundle = settings.required_bundle()
    bundle_id = verify(bundle)
    check_released(bundle)
    return f"id {bundle_id[:16]}…"
