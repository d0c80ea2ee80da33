"""Every component × topic, group, key and bucket × operation: what is listed works, no more.

The lists are written out: who changes schemas/topics.toml changes rights, and confirms it here.
"""

import contextlib
import json
import time

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBindingFilter,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic
from redis import Redis
from redis.exceptions import NoPermissionError
from typer.testing import CliRunner

from schemas.topics import TOPICS
from streams.cli import app
from streams.kafka.origin import Refused
from streams.local.kafka import ADMIN
from streams.object_storage import Denied, NoSuchKey, ObjectStorage
from streams.operations.access import Right, acl, components, grant

EVENTS_OF_STAGES = (
    "customs-messages declarations alerts assessments explanations inspection-outcomes"
)
DECIDED = "assessments inspection-outcomes risk-profiles model-releases"
KAFKA = {
    # component: topics it reads; topics it writes; groups it joins; groups it only asks about
    "intake": ("customs-messages", "declarations dead-letters", "redlane-intake", ""),
    "screen": ("declarations risk-profiles tariff-measures exchange-rates", "assessments alerts screening-records dead-letters", "redlane-screen", "redlane-reference"),
    "explain": ("alerts declarations tariff-measures exchange-rates", "explanations dead-letters", "redlane-explain", "redlane-reference redlane-origin"),
    "learn": ("inspection-outcomes", "dead-letters", "redlane-learn", ""),
    "deliver": ("alerts explanations", "dead-letters", "redlane-deliver", ""),
    "console": ("alerts assessments explanations inspection-outcomes", "inspection-outcomes dead-letters", "redlane-console", "redlane-console-outbox"),
    "dead-letters": ("dead-letters dead-letter-replays", f"dead-letter-replays {EVENTS_OF_STAGES}", "", "redlane-contents"),
    "customs IT": ("assessments", "customs-messages declarations", "redlane-customs-it", ""),
    "case management": ("alerts explanations", "inspection-outcomes", "redlane-case-management", ""),
    "audit": (f"{DECIDED} decision-log", "decision-log", "redlane-audit", "redlane-log-ends redlane-contents"),
    "auditors": (f"{DECIDED} decision-log", "", "", "redlane-log-ends"),
    "replay": ("declarations screening-records assessments alerts", "", "", "redlane-replay"),
    "intelligence service": ("risk-profiles", "risk-profiles", "", "redlane-reference"),
    "tariff service": ("", "tariff-measures", "", ""),
    "exchange rate service": ("", "exchange-rates", "", ""),
    "model owner": ("", "model-releases", "", ""),
    "deploy": ("", "", "", ""),
    "doctor": ("", "", "", "redlane-intake redlane-screen redlane-explain redlane-learn redlane-deliver"),
}  # fmt: skip
ALL = frozenset(TOPICS)
DESCRIBE_ALL = {"deploy", "doctor"}
GROUPS = {name for row in KAFKA.values() for column in row[2:] for name in column.split()}
DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
ELECTING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
WITHIN_S = 20


def expected(component):
    """(operation, name) of all that it may do."""
    reads, writes, joins, asks = (set(column.split()) for column in KAFKA[component])
    sees = ALL if component in DESCRIBE_ALL else reads | writes
    return {
        *(("read", name) for name in reads),
        *(("write", name) for name in writes),
        *(("describe", name) for name in sees),
        *(("create", name) for name in ALL if component == "deploy"),
        *(("describe configs", name) for name in ALL if component == "doctor"),
        *(("join", name) for name in joins),
        *(("ask about", name) for name in joins | asks),
    }


def attempted(settings):
    """(operation, name) of all that a user is not denied, by trying each."""
    admin = AdminClient(settings.confluent())
    opened = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    configs = [ConfigResource(ResourceType.TOPIC, name) for name in TOPICS]
    altered = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[opened]) for name in TOPICS]  # fmt: skip
    more = acl(Right("x", "topic", "alerts", "write"))
    futures = {
        "describe": admin.describe_topics(TopicCollection(list(TOPICS))),
        "create": admin.create_topics([NewTopic(name, 1, 1) for name in TOPICS]),
        "describe configs": admin.describe_configs(configs),
        "alter": admin.incremental_alter_configs(altered),
        "delete": admin.delete_topics(list(TOPICS)),
        "give rights": admin.create_acls([more]),
    }  # fmt: skip
    done = written(settings)
    for operation, of_names in futures.items():
        for resource, future in of_names.items():
            if not is_denied(lambda future=future: future):
                done.add((operation, getattr(resource, "name", resource)))
    for group in GROUPS:
        # No member has this topic, so that no offset changes.
        offsets = [ConsumerGroupTopicPartitions(group, [TopicPartition("none", 0, 1)])]
        named = [ConsumerGroupTopicPartitions(group)]
        if not is_denied(lambda offsets=offsets: admin.alter_consumer_group_offsets(offsets)[offsets[0].group_id]):  # fmt: skip
            done.add(("join", group))
        if not is_denied(lambda named=named: admin.list_consumer_group_offsets(named)[named[0].group_id]):  # fmt: skip
            done.add(("ask about", group))
    return done | read(settings, {name for operation, name in done if operation == "describe"})


def is_denied(ask):
    """Whether what is asked is refused; asked again while the group has no coordinator."""
    for _ in range(WITHIN_S):
        try:
            answer = ask().result(timeout=WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() not in ELECTING:
                return error.args[0].code() in DENIED
            time.sleep(1)
        else:
            # Who may describe a group but not join it is told so for each partition.
            places = getattr(answer, "topic_partitions", None) or ()
            errors = [place.error.code() for place in places if place.error]
            return KafkaError.GROUP_AUTHORIZATION_FAILED in errors
    raise AssertionError("no coordinator")


def written(settings):
    done = set()
    producer = Producer(settings.confluent() | {"log_level": 0})
    for name in TOPICS:
        producer.produce(name, b"x", b"x", on_delivery=lambda error, event: error is None and done.add(("write", event.topic())))  # fmt: skip
    assert producer.flush(WITHIN_S) == 0
    return done


def read(settings, visible):
    """Whoever may read may describe: where the leader is not even told, nothing can be fetched."""
    done, left = set(), set(visible)
    own = {"group.id": settings.kafka_username, "enable.partition.eof": True, "log_level": 0, "auto.offset.reset": "earliest"}  # fmt: skip
    consumer = Consumer(settings.confluent() | own)
    consumer.assign([TopicPartition(name, 0, 0) for name in visible])
    while left:
        message = consumer.poll(WITHIN_S)
        assert message is not None, left
        error = message.error()
        if message.topic() is None:
            continue  # about the group, which it does not need
        left.discard(message.topic())
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            done.add(("read", message.topic()))
        else:
            assert error.code() in DENIED, error
    consumer.close()
    return done


def test_the_matrix_names_every_component():
    """A new one has to be listed here."""
    assert sorted(KAFKA) == components()


@pytest.mark.slow
def test_each_may_do_its_work_in_kafka_and_nothing_else(secured):
    """Tried with every user on the real broker."""
    for component in KAFKA:
        assert attempted(secured.settings(component)) == expected(component), component


def test_the_screening_user_may_do_its_work_in_kafka_and_nothing_else(secured):
    """The short form of the test above."""
    assert attempted(secured.settings("screen")) == expected("screen")


def test_rights_are_given_once_and_more_are_named(secured):
    """By who may alter the cluster; deployment without that cannot give itself any."""
    said = []
    grant(secured.settings(ADMIN), say=said.append)
    assert said == []
    more = acl(Right("learn", "topic", "alerts", "describe"))
    admin = AdminClient(secured.settings(ADMIN).confluent())
    for created in admin.create_acls([more]).values():
        created.result()
    grant(secured.settings(ADMIN), say=said.append)
    (line,) = said
    assert line.startswith("not needed, remove it: ")
    assert "redlane-learn" in line
    found = AclBindingFilter(more.restype, more.name, more.resource_pattern_type, more.principal, more.host, more.operation, more.permission_type)  # fmt: skip
    for deleted in admin.delete_acls([found]).values():
        assert deleted.result()
    with pytest.raises(Refused, match="administrator"):
        grant(secured.settings("deploy"), say=said.append)


# Redis: what each may do is tried on one key of every name.

OURS = "record importer seller pair price photo declaration risk inspected irregular trader learned decided"
REDIS = {
    "screen": {"embedding", "capacity", *OURS.split()} - {"learned", "decided"},
    "explain": {"embedding", "record"},
    "learn": {"declaration", "risk", "inspected", "irregular", "trader", "learned", "decided"},
    "doctor": set(),
}
DANGEROUS = ("FLUSHALL", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "EVAL return 0", "CLIENT LIST", "PUBLISH a b", "SHUTDOWN NOSAVE")  # fmt: skip


def keys_by_name():
    names = {name: f"signals:2:{name}:x" for name in OURS.split()}
    return names | {"embedding": "embedding:2:e:x", "capacity": "capacity:2:risks::1"}


def client(secured, component):
    settings = secured.settings(component)
    return Redis.from_url(settings.redis_url.get_secret_value(), protocol=3, **settings.redis_tls())


@pytest.mark.parametrize("component", REDIS)
def test_each_reaches_its_keys_in_redis_and_nothing_else(secured, component):
    """Reads and writes by key, and no command that could do more."""
    with client(secured, component) as redis:
        allowed = set()
        for name, key in keys_by_name().items():
            try:
                redis.set(key, "x")
                redis.get(key)
                redis.delete(key)
            except NoPermissionError:
                continue
            allowed.add(name)
        assert allowed == REDIS[component]
        for command in DANGEROUS:
            with pytest.raises(NoPermissionError):
                redis.execute_command(*command.split())


# Object storage.

S3 = {
    "intake": {("read", "intake"), ("write", "intake")},
    "screen": {("read", "goods-photos")},
    "explain": {("read", "goods-photos"), ("write", "explanations")},
    "console": {("read", "goods-photos"), ("read", "explanations")},
    "customs IT": {("write", "goods-photos")},
    "doctor": {("read", "goods-photos")},
}


@pytest.mark.parametrize("component", S3)
async def test_each_reaches_its_buckets_and_nothing_else(secured, component):
    """Over HTTPS, known by the tests' authority."""
    storage, allowed = ObjectStorage(secured.settings(component)), set()
    for name in ("goods-photos", "explanations", "intake"):
        bucket = storage.bucket(name)
        with contextlib.suppress(Denied):
            with contextlib.suppress(NoSuchKey):
                await bucket.read("none", max_bytes=1)
            allowed.add(("read", name))
        with contextlib.suppress(Denied):
            await bucket.write(f"by-{component}", b"x", media_type="text/plain")
            allowed.add(("write", name))
    await storage.close()
    assert allowed == S3[component]


def test_the_rights_are_printed_for_those_who_create_users():
    """Every component with what it may do in Kafka, Redis and the object storage."""
    done = CliRunner().invoke(app, ["deploy", "--print-acls", "--user-prefix", "customs."])
    printed = json.loads(done.stdout)
    assert [user["component"] for user in printed.values()] == components()
    screen = printed["customs.screen"]
    assert {"resource": "topic", "name": "alerts", "operation": "write"} in screen["kafka"]
    assert "~embedding:*" in screen["redis"]
    assert screen["s3"] == {"read": ["goods-photos"]}
    audit = printed["customs.audit"]["kafka"]
    assert {"resource": "group", "name": "redlane-audit", "operation": "read"} in audit
    ids = [right["name"] for right in audit if right["resource"] == "transactional_id"]
    assert len(ids) == TOPICS["decision-log"].partitions
    it = printed["customs.customs-it"]["kafka"]
    assert {"resource": "group", "name": "customs.customs-it", "operation": "read"} in it
