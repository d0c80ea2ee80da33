"""streams/settings.py → a page with every setting."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import SecretStr

from streams.settings import Settings

HEAD: Final = """# Settings

Read once at the start, from the environment and from files: REDLANE_SECRETS_DIR names a folder
whose files hold one setting each, under the name of its variable. The environment takes precedence.
In the Helm chart a setting stands in lower case and without `REDLANE_` under `settings`.

| variable | default | means |
|---|---|---|
"""


def markdown() -> str:
    """Return the page."""
    properties = Settings.model_json_schema()["properties"]
    return HEAD + "".join(
        f"| `REDLANE_{name.upper()}` | {_default(field.default)} | {_meaning(properties[name])} |\n"
        for name, field in Settings.model_fields.items()
    )


def _meaning(schema: Mapping[str, Any]) -> str:
    """Return what a setting is for, and the values that it may have."""
    parts = [schema.get("description", "").replace("|", "\\|")]
    if "enum" in schema:
        parts.append("one of " + ", ".join(f"`{value}`" for value in schema["enum"]))
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    parts += [f"{text} {schema[name]:g}" for name, text in bounds.items() if name in schema]
    return "; ".join(part for part in parts if part)


def _default(value: object) -> str:
    match value:
        case SecretStr():
            text = value.get_secret_value()
        case None:
            text = ""
        case tuple():
            text = ",".join(map(str, value))
        case dict():
            text = json.dumps(value)
        case _:
            text = str(value)
    return f"`{text}`" if text else ""
