"""Send one declaration, wait for its assessment and its alert, print both, and exit."""

import os
import sys
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

KAFKA = {"bootstrap.servers": os.environ["REDLANE_KAFKA_BOOTSTRAP_SERVERS"]}
REGISTRY = SchemaRegistryClient({"url": os.environ["REDLANE_REGISTRY_URL"]})
GROUP = "first-alert-python"
WITHIN_S = 60


def declaration() -> dict:
    """Return a smartphone that is declared as a book. Fields that are left out have defaults."""
    now = datetime.now(UTC)
    return {
        "declaration_id": f"PYTHON-{now:%Y%m%d%H%M%S%f}",
        "data_set": "H7",
        "acceptance_time": now,
        "declaration_office": "BEBRU000",
        "importer": {"identification": "BE0000000002", "country": "BE"},
        "seller": {"identification": "CN-SELLER-001", "country": "CN"},
        "country_of_dispatch": "CN",
        "mode_of_transport": "4",
        "procedure": "4000",
        "goods_items": [
            {
                "sequence_number": 1,
                "commodity_code": "490199",
                "description": "SMARTPHONE 256 GB DUAL SIM OLED DISPLAY",
                "country_of_origin": "CN",
                "net_mass": Decimal("0.45"),
                "supplementary_quantity": Decimal(1),
                "item_amount": Decimal("149.95"),
                "item_currency": "EUR",
            }
        ],
    }


def send(event: dict, event_id: str) -> None:
    """Send a declaration and wait until Kafka has it; `event_id` stays the same if sent again."""
    serialize = AvroSerializer(
        REGISTRY, conf={"auto.register.schemas": False, "use.latest.version": True}
    )
    # The partitioner of Java's clients: all events of a declaration go to one partition.
    producer = Producer(KAFKA | {"enable.idempotence": True, "partitioner": "murmur2_random"})
    failures = []
    producer.produce(
        "declarations",
        key=event["declaration_id"].encode(),
        value=serialize(event, SerializationContext("declarations", MessageField.VALUE)),
        headers={"ce_id": event_id},
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    undelivered = producer.flush(WITHIN_S)
    if undelivered or failures:
        sys.exit(f"Kafka did not take the declaration: {failures or 'no answer'}")


def answers(event_id: str) -> None:
    """Print the assessment that answers an event and, unless its lane is green, its alert."""
    deserialize = AvroDeserializer(REGISTRY)
    consumer = Consumer(KAFKA | {"group.id": GROUP, "auto.offset.reset": "earliest"})
    consumer.subscribe(["assessments", "alerts"])
    assessment_id = None
    alerts = {}
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        context = SerializationContext(message.topic(), MessageField.VALUE)
        value = deserialize(message.value(), context)
        if message.topic() == "alerts":
            alerts[value["assessment_id"]] = value
        elif value["declaration_event_id"] == event_id:
            assessment_id = dict(message.headers())["ce_id"].decode()
            print(f"{value['declaration_id']}: lane {value['lane']}, risk {value['risk']:.0%}")
            if value["lane"] == "green":
                break
        if assessment_id in alerts:
            for item in alerts[assessment_id]["items"]:
                codes = f"declared {item['commodity_code']}, likely {item['suggested_hs6']}"
                print(f"Alert, goods item {item['sequence_number']}: {codes}")
                for reason in item["reasons"]:
                    print(f"  {reason['code']}: {reason['text']}")
            break
    else:
        sys.exit(f"No verdict within {WITHIN_S} s. Does `redlane screen` run? See `redlane watch`.")
    consumer.close()  # commits what was read


if __name__ == "__main__":
    id_ = str(uuid.uuid4())
    send(declaration(), id_)
    answers(id_)
