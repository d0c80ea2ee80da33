"""Schema registry: which schema ids a topic's values may carry, and the id to write with."""

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import TransportError
from structlog.contextvars import bound_contextvars

from schemas import codec
from schemas.codec import Undecodable
from schemas.reasons import Reason
from schemas.topics import Topic
from streams.retry import retrying_blocking

ANSWER_S: Final = 10
"""Longest wait for an answer. The client sends a request again three times, within seconds."""
START_ATTEMPTS: Final = 4
ANSWERS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Errors that are about a subject or a schema, not about the registry."""
T = TypeVar("T")


class RegistryFailed(Exception):  # noqa: N818 - says what happened
    """The registry does not answer, or refuses to."""


class NotDeployed(Exception):  # noqa: N818 - says what it is
    """A schema or a topic that this program needs is missing, or could not be deployed."""


class Registry:
    """A Confluent-compatible schema registry, as far as this program needs it.

    A worker only reads: schemas are registered by deployment (`redlane deploy`).
    """

    def __init__(self, url: str) -> None:
        self._client = SchemaRegistryClient({"url": url, "timeout": ANSWER_S})
        self._host = urlsplit(url).netloc.rpartition("@")[2]  # a password may precede it

    def wait(self, topic: Topic, *, attempts: int = START_ATTEMPTS, delay_s: float = 1.0) -> None:
        """Wait until it answers about a topic: it may start at the same time as a worker.

        Args:
            topic: of the worker.
            attempts: at most.
            delay_s: before the second; see streams/retry.py. Unit: s.

        Raises:
            NotDeployed: the topic's subject has no version.
            RegistryFailed: no attempt was answered.
        """
        retry = retrying_blocking(attempts=attempts, delay_s=delay_s)
        with bound_contextvars(service="schema registry"):
            retry(RegistryFailed, self.writers, topic)

    def writers(self, topic: Topic) -> dict[int, codec.Schema]:
        """Return the allow-list of a topic: schema id → vetted schema, of every version.

        Raises:
            NotDeployed: the topic's subject has no version.
            RegistryFailed: the registry does not answer.
            ValueError: a registered schema cannot be decoded in bounded time.
        """
        try:
            versions = self._ask(self._client.get_versions, topic.subject)
        except SchemaRegistryError as error:
            raise self._not_deployed(topic) from error
        return {
            schema_id: codec.vetted(json.loads(schema.schema_str or ""))
            for schema_id, schema in (self._version(topic, version) for version in versions)
        }

    def schema_id(self, topic: Topic) -> int:
        """Return the id of the schema that this program writes to a topic.

        Raises:
            NotDeployed: it is not registered.
            RegistryFailed: the registry does not answer.
        """
        try:
            registered = self._ask(self._client.lookup_schema, topic.subject, self._schema(topic))
        except SchemaRegistryError as error:
            raise self._not_deployed(topic) from error
        if registered.schema_id is None:
            raise self._not_deployed(topic)
        return registered.schema_id

    def register(self, topic: Topic) -> int:
        """Register a topic's schema, so that every version reads and is read by every other.

        Raises:
            SchemaRegistryError: 409 where the schema breaks compatibility.
            RegistryFailed: the registry does not answer.
        """
        self._ask(self._client.set_compatibility, topic.subject, "FULL_TRANSITIVE")
        return int(self._ask(self._client.register_schema, topic.subject, self._schema(topic)))

    def _ask(self, request: Callable[..., T], *arguments: object) -> T:
        """Call the client.

        Raises:
            SchemaRegistryError: the registry answers that it has no such thing, or refuses it.
            RegistryFailed: it does not answer, or not as it should.
        """
        try:
            return request(*arguments)
        except SchemaRegistryError as error:
            if error.http_status_code in ANSWERS:
                raise
            raise self._failed(f"refuses: {error}") from error
        except TransportError as error:
            raise self._failed(f"does not answer: {error}") from error
        except json.JSONDecodeError as error:
            raise self._failed("does not answer in JSON") from error

    def _failed(self, problem: str) -> RegistryFailed:
        return RegistryFailed(
            f"The schema registry at {self._host} {problem}. Check REDLANE_REGISTRY_URL, or start "
            "one on this machine with `redlane up`."
        )

    def _version(self, topic: Topic, version: int) -> tuple[int, RegisteredSchema]:
        registered = self._ask(self._client.get_version, topic.subject, version)
        if registered.schema_id is None or registered.schema is None:
            raise ValueError(f"The registry gave {topic.subject} version {version} incompletely.")
        return registered.schema_id, registered.schema

    @staticmethod
    def _schema(topic: Topic) -> RegisteredSchema:
        if topic.schema is None:
            raise ValueError(f"{topic.name} has no schema: its values are kept as received.")
        return RegisteredSchema(codec.schema_text(topic.schema), "AVRO")

    @staticmethod
    def _not_deployed(topic: Topic) -> NotDeployed:
        return NotDeployed(
            f"The registry has no schema of this version for {topic.subject}: "
            "run `redlane deploy` with the same settings."
        )


class Decoder:
    """Values of our own topics → records, also under schemas that are registered later.

    An upgrade registers a schema before it writes with it, and every version reads every other. So
    an unknown id is looked up in the registry, once.
    """

    def __init__(
        self, writers: Callable[[Topic], Mapping[int, codec.Schema]], topics: Iterable[Topic]
    ) -> None:
        """Read the topics' allow-lists of schema ids, with `Registry.writers`.

        Raises:
            NotDeployed: the registry lacks a schema.
            RegistryFailed: the registry does not answer.
        """
        self._writers = writers
        self._allowed = {topic: writers(topic) for topic in topics}
        self._asked: set[tuple[Topic, int]] = set()

    def __call__(self, topic: Topic, value: bytes | None, kind: type[codec.R]) -> codec.R:
        """Decode one value of a topic.

        Raises:
            Undecodable: with the reason code of a dead letter.
            RegistryFailed: it has a new schema and the registry does not answer.
        """
        try:
            return self._decode(topic, value, kind)
        except Undecodable as error:
            if value is None or not self._is_new_schema(topic, value, error):
                raise
        self._allowed[topic] = self._writers(topic)
        return self._decode(topic, value, kind)

    def _decode(self, topic: Topic, value: bytes | None, kind: type[codec.R]) -> codec.R:
        return codec.decode(value, kind, self._allowed[topic], topic.max_value_mb << 20)

    def _is_new_schema(self, topic: Topic, value: bytes, error: Undecodable) -> bool:
        if error.reason != Reason.SCHEMA_UNKNOWN:
            return False
        place = (topic, int(codec.PREFIX.unpack_from(value)[1]))
        is_new = place not in self._asked
        self._asked.add(place)
        return is_new
