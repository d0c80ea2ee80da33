"""What traders declare stays where it is needed: canaries in every field, looked for everywhere.

Each string field of the declaration, generated from the schema, holds a word of its own. Workers
and console run at log level DEBUG, and meet bugs whose text holds what they were given.
"""

import contextlib
import re
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace

import obstore
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from obstore.store import S3Store
from redis import Redis

from models.datasets.goods import read
from schemas import codec
from schemas.generate import event_schemas
from schemas.records import ImageReference, InspectionOutcome, Party
from schemas.topics import (
    ALERTS,
    ASSESSMENTS,
    DEAD_LETTERS,
    DECLARATIONS,
    EXPLANATIONS,
    INSPECTION_OUTCOMES,
)
from streams.console.state.ingest import case_id_of
from streams.kafka.registry import Registry
from streams.local.process import LOOPBACK, Process, free_port
from streams.synthetic.irregularities import Irregularities
from streams.synthetic.send import new_run
from tests.chaos.canaries import FIELDS, OTHERS, Canaries, string_fields
from tests.chaos.fleet import Fleet
from tests.chaos.injection import injected
from tests.chaos.talkative import mark, talk
from tests.chaos.verifier import committed, ends
from tests.conftest import ready

EVERY_ONE_IS_ALERTED = '{"yellow": 1.0, "red": 0.0, "random": 0.9999}'
OUTPUTS = (ASSESSMENTS, ALERTS, EXPLANATIONS, INSPECTION_OUTCOMES, DEAD_LETTERS)


def test_every_string_field_of_the_declaration_is_classified():
    """Who adds one says where it may be found."""
    assert sorted(string_fields(event_schemas()["declaration"])) == sorted(FIELDS)


@pytest.fixture
def canaries(dice):
    return Canaries(dice)


def bucket_of(settings, name):
    """Return a bucket to look into."""
    return S3Store(
        name,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


@pytest.fixture
def declarations(goods_folder, stack, canaries, dice):
    """Declarations of goods with other goods' photos, with a canary in each field; by name."""
    settings = stack.settings()
    bucket, store = settings.s3_buckets[0], bucket_of(settings, settings.s3_buckets[0])
    source = Irregularities(
        read(goods_folder),
        bucket=bucket,
        run=new_run(),
        seed=dice.randrange(1 << 31),
        shares={"wrong_photo": 1.0},
    )
    names = ("plain 1", "plain 2", "plain 3", "gather", "score", "decide", "explain", "redis", "no code", "key")  # fmt: skip
    made = {}
    for name, consignment in zip(names, source.consignments(len(names)), strict=True):
        for key, photo in consignment.photos.items():
            obstore.put(store, key, photo)
        lodged = consignment.declaration
        image = ImageReference()
        (first, *_) = lodged.goods_items
        with_all = replace(
            lodged,
            exporter=Party(),
            goods_items=(replace(first, images=(image,)),),
        )
        filled = canaries.filled(with_all)
        (item,) = filled.goods_items
        (image,) = item.images
        item = replace(
            item,
            commodity_code=item.commodity_code if name == "no code" else first.commodity_code,
            description=f"{item.description} {first.description} {mark(name)}",
            # Its embedding lies under the hash of the whole text.
            product_title=f"{item.product_title} {first.product_title} shoe",
            images=(*first.images, replace(image, uri=f"s3://{bucket}/{image.uri}/1.jpg")),
        )
        id_ = f"{filled.declaration_id}{lodged.declaration_id}"
        made[name] = replace(filled, declaration_id=id_, goods_items=(item,))
    return made


def produce(settings, canaries, declarations):
    """Send them, and events that are no declarations."""
    schema_id = Registry(settings.registry_url).schema_id(DECLARATIONS)
    producer = Producer(settings.confluent())

    def put(key, value, number):
        headers = {
            "ce_id": f"{canaries['header ce_id']}-{number}",
            "traceparent": canaries["header traceparent"],
            "x-sender": canaries["header of the sender"],
        }
        producer.produce(DECLARATIONS.name, key=key, value=value, headers=headers)

    for number, (name, declaration) in enumerate(declarations.items()):
        key = declaration.declaration_id.encode()
        put(key + b"?" if name == "key" else key, codec.encode(declaration, schema_id), number)
    whole = codec.encode(declarations["plain 1"], schema_id)
    nonsense = canaries["no declaration"].encode()
    for number, value in enumerate((whole[:-40], whole + nonsense, b"\0\0\0\x7f\xff" + whole[5:], nonsense)):  # fmt: skip
        put(b"poison %d" % number, value, f"poison-{number}")
    assert producer.flush(30) == 0


@pytest.fixture
def console(stack, canaries, tmp_path):
    """The console on an empty database, for an inspector whose name is a canary."""
    port = free_port()
    environment = stack.environment() | {
        "REDLANE_LOG_LEVEL": "DEBUG",
        "REDLANE_CONSOLE_CONSUMER_GROUP": new_run(),
    }
    database = tmp_path / "console.db"
    user = f"{canaries['inspector']}:inspector"
    options = ("--port", str(port), "--demo-user", user, "--database", f"sqlite:///{database}")
    process = Process(
        "console",
        [sys.executable, "-m", "streams.cli", "console", *options],
        directory=tmp_path / "console",
        environment=environment,
    )
    process.health, process.database = f"http://{LOOPBACK}:{port}", database
    yield process.start()
    process.stop()


def visit(console, path, **form):
    """Return a page; with a form, what answers it."""
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(f"{console.health}{path}", data, timeout=10) as answer:
        return answer.read().decode()


def decide(console, canaries, declaration):
    """Write a note on the case of a declaration, and decide it."""
    path = f"/alerts/{case_id_of(declaration.declaration_id, declaration.version)}"
    deadline = time.monotonic() + 30
    while True:
        try:
            page = visit(console, path)
        except urllib.error.HTTPError:
            assert time.monotonic() < deadline, console.tail()
            time.sleep(0.3)
        else:
            break
    token = re.search(r'name="token" value="([\w.-]+)"', page)[1]
    visit(console, f"{path}/note", token=token, text=canaries["note"])
    decision = canaries["note on the decision"]
    visit(console, f"{path}/decision", token=token, result="conforming", note=decision)


def until(done, worker, within_s=60):
    """Wait until something is so."""
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, worker.tail()
        time.sleep(0.2)


def messages(settings, since):
    """Yield what lies on the output topics from a mark on."""
    consumer = Consumer(settings.confluent() | {"group.id": new_run(), "enable.auto.commit": False})
    for place, end in ends(settings, OUTPUTS).items():
        left = end - since[place]
        consumer.assign([TopicPartition(*place, since[place])])
        while left > 0:
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            left -= 1
            yield message
    consumer.close()


def everything_in(redis_url):
    """Yield each key of Redis and all that lies under it."""
    with Redis.from_url(redis_url, protocol=3) as redis:
        for key in redis.scan_iter("*"):
            yield key
            kind = redis.type(key)
            if kind == b"string":
                yield redis.get(key)
            elif kind == b"zset":
                yield from redis.zrange(key, 0, -1)
            elif kind == b"set":
                yield from redis.smembers(key)
            elif kind == b"hash":
                for field, value in redis.hgetall(key).items():
                    yield field + b" " + value


def everything_in_database(path):
    """Yield each row of the console's database, as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield from (line.encode() for line in connection.iterdump())


def publish(settings, topic, key, value):
    """Send one event."""
    producer = Producer(settings.confluent())
    producer.produce(topic.name, key=key, value=value)
    assert producer.flush(10) == 0


def publish_outcomes(settings, canaries, declarations):
    """Send an outcome on which learning fails, and what is none."""
    outcome = InspectionOutcome(
        outcome_id=new_run(),
        declaration_id=declarations["plain 2"].declaration_id,
        result="conforming",
        note=f"{canaries['outcome that fails']} {mark('learn')}",
    )
    schema_id = Registry(settings.registry_url).schema_id(INSPECTION_OUTCOMES)
    key = outcome.declaration_id.encode()
    publish(settings, INSPECTION_OUTCOMES, key, codec.encode(outcome, schema_id))
    publish(settings, INSPECTION_OUTCOMES, b"nonsense", canaries["no declaration"].encode())


def learned(settings, group):
    """Return how many outcomes the group has committed."""
    return sum(committed(settings, group, INSPECTION_OUTCOMES).values())


def collected(settings, since):
    """Return all that is kept: place → pieces of bytes."""
    places = {topic.name: [] for topic in OUTPUTS} | {"headers": [], "dead-letter headers": []}
    for message in messages(settings, since):
        topic = message.topic()
        places[topic].append(message.value() or b"")
        headers = "headers" if topic != DEAD_LETTERS.name else "dead-letter headers"
        places[headers] += [name.encode() + b" " + value for name, value in message.headers() or ()]
    places["outcomes"] = places.pop(INSPECTION_OUTCOMES.name)
    places["redis"] = list(everything_in(settings.redis_url.get_secret_value()))
    store = bucket_of(settings, settings.s3_explanations_bucket)
    keys = [entry["path"] for page in obstore.list(store) for entry in page]
    places["storage"] = [*map(str.encode, keys), *(bytes(obstore.get(store, key).bytes()) for key in keys)]  # fmt: skip
    return places


@pytest.fixture
def fleet(stack, start_worker, dice, figures):
    """Workers with bugs that say all they know, and log at DEBUG."""
    group = f"privacy-{new_run()}"
    workers = Fleet(stack, start_worker, iter(()), group=group, dice=dice, figures=figures)
    yield workers
    workers.clean_up()


def test_what_people_write_is_found_where_it_belongs_and_nowhere_else(
    fleet, start_worker, console, declarations, canaries
):
    """Nor is its hash; what belongs somewhere is found there, so the search is one."""
    settings, learn_group = fleet.settings, f"{fleet.group}-learn"
    fleet.move_group(learn_group, INSPECTION_OUTCOMES)
    since = ends(settings, OUTPUTS)
    bugs = {"bug": injected(talk), "log_level": "DEBUG"}
    screen = fleet.start(
        bugs["bug"], log_level="DEBUG", cache_pause_s="0.2", capacity=EVERY_ONE_IS_ALERTED
    )
    explain = fleet.start(bugs["bug"], name="explain", log_level="DEBUG")
    learn = start_worker("learn", learn_consumer_group=learn_group, **bugs)
    workers = (screen, explain, learn)
    for worker in workers:
        worker.wait_until(lambda worker=worker: ready(worker), within_s=120)
    produce(settings, canaries, declarations)
    fleet.finish(within_s=60)
    fleet.finish(explaining=True, within_s=60)
    decide(console, canaries, declarations["plain 1"])
    publish_outcomes(settings, canaries, declarations)
    first = sum(since[INSPECTION_OUTCOMES.name, n] for n in range(INSPECTION_OUTCOMES.partitions))  # fmt: skip
    until(lambda: learned(settings, learn_group) >= first + 3, learn)
    metrics = [visit(worker, "/metrics").encode() for worker in workers]
    publish(settings, INSPECTION_OUTCOMES, b"?", f"{mark('publish')} {canaries['no declaration']}")  # fmt: skip
    until(lambda: learn.returncode is not None, learn)
    console.stop()
    fleet.stop()
    places = collected(settings, since) | {"metrics": metrics}
    places["console"] = list(everything_in_database(console.database))
    places["logs"] = [worker.log.read_bytes() for worker in (*workers, console)]
    found = {place: set().union(*map(canaries.found, data)) for place, data in places.items()}
    assert found.pop("dead-letters") >= FIELDS.keys() | {"no declaration", "outcome that fails"}
    belongs = {place: {name for name, where in (FIELDS | OTHERS).items() if place in where} for place in found}  # fmt: skip
    belongs["outcomes"].add("no declaration")  # as this test sent it
    fleet.figures.records = len(declarations) + 8
    fleet.figures.more |= {
        "canaries": len(canaries.words),
        "leaks": sum(len(names - belongs[place]) for place, names in found.items()),
    }
    assert found == belongs
    for log in places["logs"][:2]:
        assert b'"level": "warning"' in log, "bugs were met, and told"
    assert b"builtins.ValueError" in places["logs"][2], "why the worker ended is told"
