"""Other versions of Redlane in a worker's process, as they run beside this one in an upgrade.

A test passes `injected(…)` with one of these to `start_worker(bug=…)`.
"""

import json

from schemas import codec
from streams.evidence import embedding_cache, signals
from streams.kafka import dead_letter
from streams.redis import keys
from streams.stages import screen

FIELD = {"name": "added_later", "type": "string", "default": "", "doc": "No unit."}
schema_text = codec.schema_text


def newer_schema(stem):
    """Return the text of a schema as a later version has it: compatible, with a field more."""
    newer = json.loads(schema_text(stem))
    newer["fields"].append(FIELD)
    return json.dumps(newer)


def with_newer_schemas():
    """Be a version all of whose schemas have a field more."""
    codec.schema_text = newer_schema


def with_other_formats(number):
    """Be a version that writes other contents into Redis, under keys of its own formats.

    This version's readers refuse its contents, and it refuses this version's.
    """
    keys.EMBEDDING_FORMAT = keys.SIGNALS_FORMAT = keys.CAPACITY_FORMAT = number
    embedding_cache.CHECKSUM_BYTES = 8
    as_dict, read = signals.asdict, signals._read
    signals.asdict = lambda live: {"version": number, "signals": as_dict(live)}
    signals._read = lambda record: read(json.dumps(json.loads(record)["signals"]))


def with_older_letters():
    """Be a version whose dead letters lack the headers that count replays."""
    made = dead_letter.dead_letter
    later = (dead_letter.REPLAYS, dead_letter.ATTEMPT, f"{dead_letter.OURS}timestamp")

    def older(*arguments, **options):
        letter = made(*arguments, **options)
        headers = tuple(pair for pair in letter.headers if pair[0] not in later)
        return dead_letter.replace(letter, headers=headers)

    screen.dead_letter = older


def failing_at(text):
    """Have a bug that is mended in the next version: it fails on declarations with a text."""
    score = screen.Screen._score

    async def failing(stage, batch):
        for gathered in batch:
            if any(text in item.description for item in gathered.declaration.goods_items):
                raise ValueError("a bug")
        return await score(stage, batch)

    screen.Screen._score = failing
