"""settings.py, topics.toml and the rights of components → files of the Helm chart.

`python -m streams.operations.helm_chart` writes the settings into values.schema.json, and
files/kafka.json; `--check` fails when they are out of date.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from schemas.topics import TOPICS
from streams.operations.access import components, rights, user_of
from streams.operations.deploy import topic_config
from streams.settings import Settings

CHART: Final = Path(__file__).parents[2] / "deploy" / "helm" / "redlane"
SCHEMA: Final = CHART / "values.schema.json"
KAFKA: Final = CHART / "files" / "kafka.json"
SECRETS: Final = {"s3_access_key_id"} | {
    name for name, field in Settings.model_fields.items() if field.annotation is SecretStr
}
"""Settings that containers get from Secrets, as files."""
OF_USERS: Final = {"kafka_certificate_file", "kafka_key_file", "kafka_username"}
"""Settings that differ between components, because each is a user of its own in Kafka."""
SET_BY_CHART: Final = OF_USERS | {"bundle", "health_host", "health_port"}
"""Settings that follow from other values."""
FILES: Final = {name for name in Settings.model_fields if name.endswith("_file")} - OF_USERS
"""Settings that name a file, which the chart mounts from a Secret."""
OTHER_KEYS: Final = {"password", "user.crt", "user.key", "ca.crt"}
"""Keys of the Secrets of Kafka's users and authorities."""
GROUPS: Final = (
    "intake_consumer_group",
    "consumer_group",
    "learn_consumer_group",
    "explain_consumer_group",
    "deliver_consumer_group",
    "console_consumer_group",
    "audit_consumer_group",
)
"""Settings that name consumer groups, which rights depend on."""
STRIMZI: Final = {"transactional_id": "transactionalId"}
"""Its names of resources where they differ."""
USER_PREFIX: Final = "${user_prefix}"


def settings_schema() -> dict[str, Any]:
    """Return the JSON schemas that values.schema.json has of the settings, by definition."""
    schema = Settings.model_json_schema()
    plain = {
        name: _for_values(field)
        for name, field in schema["properties"].items()
        if name not in SECRETS | SET_BY_CHART | FILES
    }
    definitions = {name: _for_values(node) for name, node in schema.get("$defs", {}).items()}
    return definitions | {
        "settings": {
            "description": "Settings of Redlane, REDLANE_<NAME> in lower case; see "
            "streams/settings.py.",
            "type": "object",
            "additionalProperties": False,
            "properties": plain,
        },
        "files": _with_keys(
            "Settings that name a file, which is mounted from a Secret.", FILES, "fileInSecret"
        ),
        "storedSecret": _with_keys(
            "Keys of a Secret, and where External Secrets finds them.",
            {f"REDLANE_{name.upper()}" for name in SECRETS} | OTHER_KEYS,
            "remoteKey",
        ),
    }


def _with_keys(description: str, keys: Iterable[str], definition: str) -> dict[str, Any]:
    """Return the schema of a mapping that may have these keys, to values of a definition."""
    return {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": {key: {"$ref": f"#/definitions/{definition}"} for key in sorted(keys)},
    }


def _for_values(node: Any) -> Any:
    """Return a node of pydantic's schema as values.yaml has it: null and titles left out."""
    if isinstance(node, list):
        return [_for_values(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "anyOf" in node:
        (branch,) = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
        node = branch | {key: value for key, value in node.items() if key != "anyOf"}
    kept = {
        key: _for_values(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and (key, value) != ("default", None)
    }
    if "$ref" in kept:
        # Beside a reference draft 7 reads nothing.
        return {"$ref": kept["$ref"].replace("#/$defs/", "#/definitions/")}
    if kept.get("type") == "object" and "properties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def kafka_file() -> dict[str, Any]:
    """Return topics and the rights of users; `${…}` stands for a group's setting or the prefix."""
    groups = {name: f"${{{name}}}" for name in GROUPS}
    acls: dict[str, dict[tuple[str, str], list[str]]] = {name: {} for name in components()}
    for right in rights(Settings(**groups), USER_PREFIX):
        place = (STRIMZI.get(right.resource, right.resource), right.name)
        operation = "".join(word.capitalize() for word in right.operation.split("_"))
        acls[right.component].setdefault(place, []).append(operation)
    return {
        "topics": [
            {"name": topic.name, "partitions": topic.partitions, "config": topic_config(topic)}
            for topic in TOPICS.values()
        ],
        "users": [
            {
                "component": component,
                "name": user_of(component, USER_PREFIX),
                "acls": [
                    {
                        "resource": {"type": kind, "name": name, "patternType": "literal"},
                        "operations": operations,
                    }
                    for (kind, name), operations in places.items()
                ],
            }
            for component, places in acls.items()
        ],
    }


def generated(schema: Mapping[str, Any]) -> dict[Path, str]:
    """Return the text of each file; of values.schema.json only the settings are generated."""
    definitions = schema["definitions"] | settings_schema()
    contents = {SCHEMA: {**schema, "definitions": definitions}, KAFKA: kafka_file()}
    return {
        path: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for path, content in contents.items()
    }


def main() -> None:
    """Write the generated files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is out of date")
    check = parser.parse_args().check
    for path, text in generated(json.loads(SCHEMA.read_text())).items():
        if path.exists() and path.read_text() == text:
            continue
        if check:
            sys.exit(
                f"{path.name} is out of date: run `python -m streams.operations.helm_chart` and "
                "commit it."
            )
        path.write_text(text)
        print(f"wrote {path.name}")  # noqa: T201 - a command line tool


if __name__ == "__main__":
    main()
