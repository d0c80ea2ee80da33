"""topics.toml → what the user of each component may do in Kafka, and nothing else.

Who writes and reads which topic is said in schemas/topics.toml; which consumer groups components
use, here. `redlane deploy --acls` gives these rights, `--print-acls` prints them. In Kafka, whoever
may read or write may also describe.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from schemas.topics import TOPICS
from streams.audit import log as log_of_decisions
from streams.audit.log import transactional_ids
from streams.kafka import origin
from streams.kafka.contact import reach
from streams.kafka.origin import DENIALS, GIVE_RIGHTS, NoAnswer, Refused, absent, no_answer
from streams.operations import span
from streams.redis import rights as redis_rights
from streams.reference import follower
from streams.settings import Settings

Operation = Literal["read", "write", "describe", "describe_configs", "create"]
PREFIX: Final = "redlane-"
"""Of the users' names."""
ANSWER_S: Final = 10.0
START_S: Final = 30.0
"""For Kafka to answer at a worker's start: it may start at the same time."""
CHECKS: Final = 10
"""Of the rights at the start, at most, while Kafka does not say who coordinates the groups."""
CHECK_AGAIN_S: Final = 0.5
log = structlog.get_logger(__name__)
EXTERNAL: Final = ("customs IT", "case management")
"""Readers that are no programs of ours: each has one consumer group, of its user's name."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One literal right of one component's user."""

    component: str
    resource: Literal["topic", "group", "transactional_id"]
    name: str
    operation: Operation


def buckets(settings: Settings) -> dict[str, dict[str, list[str]]]:
    """Return component → action → the buckets of the object storage on which it may do it."""
    photos, maps = list(settings.s3_buckets), [settings.s3_explanations_bucket]
    allowed = {
        "intake": {action: [settings.s3_intake_bucket] for action in ("read", "write", "list")},
        "screen": {"read": photos},
        "explain": {"read": photos, "write": maps},
        "console": {"read": sorted({*photos, *settings.console_buckets})},
        "customs IT": {"write": photos[:1]},
        "doctor": {"read": photos},
    }
    if anchors := settings.audit_anchors_bucket:
        allowed |= {"audit": {"write": [anchors]}, "auditors": {"read": [anchors]}}
    return allowed


def components() -> list[str]:
    """Return every component that has a user."""
    named = {name for topic in TOPICS.values() for name in (*topic.writers, *topic.readers)}
    return sorted(named | {"deploy", "doctor"})


def user_of(component: str, prefix: str = PREFIX) -> str:
    """Return the name of a component's user."""
    return prefix + component.lower().replace(" ", "-")


def rights(settings: Settings, prefix: str = PREFIX) -> list[Right]:
    """Return the rights of all components.

    Args:
        settings: that name the consumer groups.
        prefix: of the users' names.
    """
    given = {
        Right(component, "topic", topic.name, operation)
        for topic in TOPICS.values()
        for operation, named in _named(topic.writers, topic.readers).items()
        for component in named
    }
    for component, groups in _joined(settings, prefix).items():
        given |= {Right(component, "group", group, "read") for group in groups}
    for component, groups in _named_only(settings).items():
        given |= {Right(component, "group", group, "describe") for group in groups}
    given |= {Right("audit", "transactional_id", id_, "write") for id_ in transactional_ids()}
    return sorted(given)


def _named(writers: Iterable[str], readers: Iterable[str]) -> dict[Operation, Iterable[str]]:
    """Return each operation on a topic with the components that may do it."""
    return {
        "write": writers,
        "read": readers,
        "create": ["deploy"],
        "describe": ["deploy", "doctor"],
        "describe_configs": ["doctor"],
    }


def _joined(settings: Settings, prefix: str) -> Mapping[str, Iterable[str]]:
    """Return the consumer groups in which components read and commit."""
    return {
        "intake": [settings.intake_consumer_group],
        "screen": [settings.consumer_group],
        "learn": [settings.learn_consumer_group],
        "explain": [settings.explain_consumer_group],
        "deliver": [settings.deliver_consumer_group],
        "console": [settings.console_consumer_group],
        "audit": [settings.audit_consumer_group],
    } | {component: [user_of(component, prefix)] for component in EXTERNAL}


def _named_only(settings: Settings) -> Mapping[str, Iterable[str]]:
    """Return the groups that components ask about, or only name as Kafka's client needs one."""
    return {
        "screen": [follower.GROUP],
        "explain": [follower.GROUP, origin.ORIGINS_GROUP],
        "intelligence service": [follower.GROUP],
        "console": [f"{settings.console_consumer_group}-outbox"],
        "dead-letters": [origin.CONTENTS_GROUP],
        "audit": [origin.CONTENTS_GROUP, log_of_decisions.GROUP],
        "auditors": [log_of_decisions.GROUP],
        "replay": [span.GROUP],
        "doctor": [
            settings.intake_consumer_group,
            settings.consumer_group,
            settings.learn_consumer_group,
            settings.explain_consumer_group,
            settings.deliver_consumer_group,
        ],
    }


def as_json(settings: Settings, prefix: str = PREFIX) -> str:
    """Return the rights of every user in Kafka, Redis and the object storage."""
    of_kafka, of_buckets = rights(settings, prefix), buckets(settings)
    users = {
        user_of(component, prefix): {
            "component": component,
            "kafka": [
                {"resource": right.resource, "name": right.name, "operation": right.operation}
                for right in of_kafka
                if right.component == component
            ],
            "redis": redis_rights.rules(component) if component in redis_rights.KEYS else [],
            "s3": of_buckets.get(component, {}),
        }
        for component in components()
    }
    return json.dumps(users, indent=2)


def grant(settings: Settings, prefix: str = PREFIX, say: Callable[[str], object] = print) -> None:
    """Give every component's user its rights; name those it has beyond, and leave them.

    Raises:
        Refused: Kafka has no authorizer, or this user may not give rights.
        NoAnswer: Kafka does not answer.
    """
    admin = reach(settings, within_s=ANSWER_S)
    wanted = {acl(right, prefix): right for right in rights(settings, prefix)}
    existing = {
        one
        for user in {acl.principal for acl in wanted}
        for one in _result(admin.describe_acls(_of(user)))
    }
    new = sorted(wanted.keys() - existing, key=str)
    created = admin.create_acls(new) if new else {}
    for binding, future in created.items():
        _result(future)
        right = wanted[binding]
        say(f"{user_of(right.component, prefix)} may {_text(right)}")
    for binding in sorted(existing - wanted.keys(), key=str):
        say(f"not needed, remove it: {binding}")


def acl(right: Right, prefix: str = PREFIX) -> AclBinding:
    """Return a right as Kafka's admin client takes it."""
    return AclBinding(
        ResourceType[right.resource.upper()],
        right.name,
        ResourcePatternType.LITERAL,
        f"User:{user_of(right.component, prefix)}",
        "*",
        AclOperation[right.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _of(principal: str) -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type] # any; its types are wrong
        ResourcePatternType.ANY,
        principal,
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result(timeout=ANSWER_S)
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() in {KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.SECURITY_DISABLED}:
            raise Refused(
                f"Kafka lets this user give no rights: {cause.str()}",
                "use an administrator's REDLANE_KAFKA_USERNAME, and set an authorizer on the "
                "brokers",
            ) from error
        raise no_answer(error) from error


def admit(settings: Settings, component: str, *, within_s: float = START_S) -> None:
    """Wait for Kafka, and check that this process's user may do what the component does.

    Raises:
        NotDeployed: a topic is missing.
        Refused: the user is not known, TLS fails, or a right is missing.
        NoAnswer: Kafka does not answer for a while.
    """
    admin = reach(
        settings,
        within_s=within_s,
        waiting=lambda error: log.warning(
            "waiting for a service", service="Kafka", error=error.str()
        ),
    )
    check(admin, settings, component)


def check(admin: AdminClient, settings: Settings, component: str) -> None:
    """Check that the user of a client may do what a component does, as far as the brokers say.

    Raises:
        NotDeployed: a topic is missing.
        Refused: a right is missing.
        NoAnswer: Kafka does not answer.
    """
    needed = [right for right in rights(settings) if right.component == component]
    for _ in range(CHECKS):
        try:
            missing = _missing(admin, needed)
            break
        except Refused:
            raise
        except NoAnswer:  # who coordinates the groups is not known at once
            time.sleep(CHECK_AGAIN_S)
    else:
        missing = _missing(admin, needed)
    if missing:
        user = settings.kafka_username or "this user"
        raise Refused(
            f"Kafka does not let {user} {', '.join(map(_text, missing))}, as `{component}` does",
            GIVE_RIGHTS,
        )


def _text(right: Right) -> str:
    return f"{right.operation.replace('_', ' ')} {right.resource} {right.name}"


def _missing(admin: AdminClient, needed: Iterable[Right]) -> list[Right]:
    """Return the rights that the client's user lacks, as far as the brokers say.

    They say nothing of transactional ids.
    """
    needed = list(needed)
    topics = sorted({right.name for right in needed if right.resource == "topic"})
    groups = sorted({right.name for right in needed if right.resource == "group"})
    options = {"include_authorized_operations": True, "request_timeout": ANSWER_S}
    allowed = {
        ("topic", name): _allowed(name, future)
        for name, future in admin.describe_topics(TopicCollection(topics), **options).items()
    }
    if groups:
        described = admin.describe_consumer_groups(groups, **options)
        allowed |= {("group", name): _allowed(name, future) for name, future in described.items()}
    return [
        right
        for right in needed
        if (operations := allowed.get((right.resource, right.name))) is not None
        and AclOperation[right.operation.upper()] not in operations
    ]


def _allowed(name: str, described: "Future[Any]") -> set[AclOperation] | None:
    """Return what a user may do with a topic or group; None where the brokers do not say.

    Raises:
        NotDeployed: the topic is missing.
        NoAnswer: Kafka does not answer.
    """
    try:
        operations = described.result(timeout=ANSWER_S).authorized_operations
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() in DENIALS:
            return set()
        if cause.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise absent(cause, name) from error
        raise no_answer(error) from error
    return set(operations) if operations else None
