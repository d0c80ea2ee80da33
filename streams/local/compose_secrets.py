"""The secrets of docker-compose.yml, a file each, as settings are named.

`python -m streams.local.compose_secrets` writes those that are missing into deploy/secrets.
"""

import base64
import secrets
from pathlib import Path
from typing import Final

from streams.local.registry_rights import key_and_token

FOLDER: Final = Path("deploy/secrets")
RANDOM: Final = (
    "GRAFANA_ADMIN_PASSWORD",
    "REDLANE_CONSOLE_PROXY_SECRET",
    "REDLANE_PSEUDONYM_KEY",
    "REDLANE_S3_ACCESS_KEY_ID",
    "REDLANE_S3_SECRET_ACCESS_KEY",
    "REDLANE_SELECTION_KEY",
)
WEBHOOKS: Final = "REDLANE_DELIVER_SECRET"
TOKEN: Final = "REDLANE_REGISTRY_TOKEN"  # noqa: S105 - its name
REGISTRY: Final = "registry.env"
"""The key that the registry checks the token with; together they are new, or stay."""


def write(folder: Path) -> list[str]:
    """Write what is missing; return the names of the new files.

    The folder is its owner's alone. The files are readable to all, because a container reads them
    as a user of its own.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {name: secrets.token_hex(24) for name in RANDOM if not (folder / name).exists()}
    if not (folder / WEBHOOKS).exists():
        contents[WEBHOOKS] = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    if not all((folder / name).exists() for name in (TOKEN, REGISTRY)):
        public_key, token = key_and_token()
        contents |= {TOKEN: token, REGISTRY: f"QUARKUS_OIDC_PUBLIC_KEY={public_key}\n"}
    for name, content in contents.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o644)
    return sorted(contents)


if __name__ == "__main__":
    for written in write(FOLDER):
        print(f"wrote {FOLDER / written}")  # noqa: T201 - a command line tool
