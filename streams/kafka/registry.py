"""Schema registry: which schema ids a topic's values may carry, and the id to write with."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog
from confluent_kafka.schema_registry import Schema as RegisteredSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import TransportError
from structlog.contextvars import bound_contextvars

from schemas import codec
from schemas.topics import Topic
from streams.kafka.events import Inbound, Outbound
from streams.kafka.pump import Stage
from streams.retry import retrying_blocking

ANSWER_S: Final = 10
"""Longest wait for an answer. The client sends a request again three times, within seconds."""
START_ATTEMPTS: Final = 4
ANSWERS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Errors that are about a subject or a schema, not about the registry."""
REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
REFRESH_S: Final = 5.0
"""Longest that a micro-batch waits for an answer about an unknown schema id."""
ASK_AGAIN_S: Final = 30.0
"""Until an id that the registry did not know is asked for again."""
MOST_ASKED: Final = 20
"""Ids that are asked for in that time."""
T = TypeVar("T")
log = structlog.get_logger(__name__)


class RegistryFailed(Exception):  # noqa: N818 - says what happened
    """The registry does not answer, or refuses to."""


class NotDeployed(Exception):  # noqa: N818 - says what it is
    """A schema or a topic that this program needs is missing, or could not be deployed."""


class Registry:
    """A Confluent-compatible schema registry, as far as this program needs it.

    A worker only reads: schemas are registered by deployment (`redlane deploy`).
    """

    def __init__(self, url: str, *, token: str = "") -> None:
        """Connect; nothing is asked yet.

        Args:
            url: of the Confluent-compatible interface.
            token: with the right to register schemas; empty for reading alone.
        """
        settings: dict[str, Any] = {"url": url, "timeout": ANSWER_S}
        if token:
            settings |= {
                "bearer.auth.credentials.source": "STATIC_TOKEN",
                "bearer.auth.token": token,
                "bearer.auth.logical.cluster": "redlane",  # required by the client alone
            }
        self._settings = settings
        self._client = SchemaRegistryClient(settings)
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
        """Return the allow-list of a topic: schema id → schema, of every version that is vetted.

        Raises:
            NotDeployed: the topic's subject has no version.
            RegistryFailed: the registry does not answer.
        """
        try:
            versions = self._ask(self._client.get_versions, topic.subject)
        except SchemaRegistryError as error:
            raise self._not_deployed(topic) from error
        if not isinstance(versions, list) or not all(isinstance(each, int) for each in versions):
            raise self._failed(f"gives no list of the versions of {topic.subject}")
        registered = (self._version(topic, version) for version in versions)
        schemas = {schema_id: self._vetted(topic, schema) for schema_id, schema in registered}
        return {schema_id: schema for schema_id, schema in schemas.items() if schema is not None}

    @staticmethod
    def _vetted(topic: Topic, registered: RegisteredSchema) -> codec.Schema | None:
        """Return the schema; None, told in the log, where it is none of ours: it stops nobody."""
        try:
            return codec.vetted(json.loads(registered.schema_str or ""))
        except Exception:  # whatever a parser raises on a schema that somebody else wrote
            log.exception("a registered schema is left out", subject=topic.subject)
            return None

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

    def everybody_may_register(self, topic: Topic) -> bool:
        """Whether the registry takes a schema from this client, shown with one that it has."""
        fresh = SchemaRegistryClient(self._settings)  # ours does not ask about a schema it knows
        try:
            fresh.register_schema(topic.subject, self._schema(topic))
        except SchemaRegistryError as error:
            return error.http_status_code not in REFUSALS
        return True

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
            if error.http_status_code in REFUSALS:
                raise RegistryFailed(
                    f"The schema registry at {self._host} refuses: {error}. Registering needs "
                    "REDLANE_REGISTRY_TOKEN, reading nothing or a user in REDLANE_REGISTRY_URL."
                ) from error
            raise self._failed(f"refuses: {error}") from error
        except TransportError as error:
            raise self._failed(f"does not answer: {error}") from error
        except json.JSONDecodeError as error:
            raise self._failed("does not answer in JSON") from error
        except Exception as error:  # whatever the client meets in an answer of another form
            raise self._failed(f"answers what nobody asked for: {type(error).__name__}") from error

    def _failed(self, problem: str) -> RegistryFailed:
        return RegistryFailed(
            f"The schema registry at {self._host} {problem}. Check REDLANE_REGISTRY_URL, or start "
            "one on this machine with `redlane up`."
        )

    def _version(self, topic: Topic, version: int) -> tuple[int, RegisteredSchema]:
        try:
            registered = self._ask(self._client.get_version, topic.subject, version)
        except SchemaRegistryError as error:  # it was in the list
            raise self._failed(f"gives no {topic.subject} version {version}: {error}") from error
        if not isinstance(registered.schema_id, int) or registered.schema is None:
            raise self._failed(f"gives {topic.subject} version {version} incompletely")
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


class AllowList:
    """The schema ids under which values of a topic are decoded, asked for again within bounds.

    An upgrade registers a schema before anybody writes with it, so an unknown id may be one of a
    schema that was registered since. A sender may also make ids up: each is asked for once in a
    while, and no more than some in a minute.
    """

    def __init__(
        self,
        writers: Callable[[Topic], Mapping[int, codec.Schema]],
        topic: Topic,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the topic's list, with `Registry.writers`.

        Raises:
            NotDeployed: the registry lacks a schema.
            RegistryFailed: the registry does not answer.
        """
        self._read = writers
        self._topic = topic
        self._clock = clock
        self.writers: dict[int, codec.Schema] = dict(writers(topic))
        """Schema id → schema; grows."""
        self._asked: dict[int, float] = {}
        """Unknown id → when it was asked for."""
        self._reading: asyncio.Task[None] | None = None

    def ask(self, schema_id: int) -> bool:
        """Ask for an unknown id, unless that was done lately; returns whether it is known now.

        Raises:
            NotDeployed: the registry lost the topic's schemas.
            RegistryFailed: the registry does not answer.
        """
        if self._may_ask({schema_id}):
            self._refresh()
        return schema_id in self.writers

    def before(self, stage: Stage, *, within_s: float = REFRESH_S) -> Stage:
        """Return a stage that asks for the unknown ids of a micro-batch before it begins.

        Where the registry does not answer in time, the stage begins without: a dead letter of an
        unknown schema can be sent again.
        """

        async def begin(batch: Sequence[Inbound]) -> list[tuple[Outbound, ...]]:
            if unknown := self._unknown(batch):
                try:
                    async with asyncio.timeout(within_s):
                        await self._ask_all(unknown)
                except (TimeoutError, NotDeployed, RegistryFailed) as error:
                    log.warning("unknown schema ids not asked for", problem=str(error)[:300])
            return await stage(batch)

        return begin

    async def _ask_all(self, unknown: set[int]) -> None:
        if self._reading is not None and not self._reading.done():
            await asyncio.shield(self._reading)
        unknown -= self.writers.keys()
        if self._may_ask(unknown):
            self._reading = asyncio.create_task(asyncio.to_thread(self._refresh))
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(self._reading)

    def _unknown(self, batch: Sequence[Inbound]) -> set[int]:
        ids = {codec.schema_id(event.value) for event in batch}
        return {id_ for id_ in ids if id_ is not None} - self.writers.keys()

    def _may_ask(self, unknown: set[int]) -> bool:
        """Whether the registry may be asked about one of these; notes that it will be."""
        now = self._clock()
        self._asked = {id_: at for id_, at in self._asked.items() if now - at < ASK_AGAIN_S}
        new = unknown - self._asked.keys()
        if not new or len(self._asked) >= MOST_ASKED:
            return False
        self._asked |= dict.fromkeys(list(new)[: MOST_ASKED - len(self._asked)], now)
        return True

    def _refresh(self) -> None:
        self.writers.update(self._read(self._topic))


class Decoder:
    """Values of our own topics → records, also under schemas that are registered later.

    See `AllowList`: every version reads every other.
    """

    def __init__(
        self, writers: Callable[[Topic], Mapping[int, codec.Schema]], topics: Iterable[Topic]
    ) -> None:
        """Read the topics' allow-lists of schema ids, with `Registry.writers`.

        Raises:
            NotDeployed: the registry lacks a schema.
            RegistryFailed: the registry does not answer.
        """
        self._allowed = {topic: AllowList(writers, topic) for topic in topics}

    def __call__(self, topic: Topic, value: bytes | None, kind: type[codec.R]) -> codec.R:
        """Decode one value of a topic.

        Raises:
            Undecodable: with the reason code of a dead letter.
            RegistryFailed: it has a new schema and the registry does not answer.
        """
        allowed = self._allowed[topic]
        schema_id = codec.schema_id(value)
        if schema_id is not None and schema_id not in allowed.writers:
            allowed.ask(schema_id)
        return codec.decode(value, kind, allowed.writers, topic.max_value_mb << 20)
