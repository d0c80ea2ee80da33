"""`redlane classify`: goods text and photo → HS codes, for a person at a terminal."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streams.cli.exits import exit_on
from streams.cli.models.bundle import BundleOption, model_bundle
from streams.progress import Bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CANDIDATES: Final = 5
WORDS: Final = 3


def classify(
    text: Annotated[
        str | None, typer.Option(help="Goods description, in any of the languages.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Photo: JPEG, PNG, WebP, AVIF or GIF.")] = None,
    bundle: BundleOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the HS codes of goods by text, photo or both.

    Shows the most probable codes with their texts in the nomenclature, the 95 % set, and the past
    goods that are nearest to these.

    **Examples**

    `redlane classify --text "chaussures de course, dessus en textile"`

    `redlane classify --text "MEN SHIRT COTTON" --image shirt.jpg --json`
    """
    from models.encoding.image import decode
    from models.encoding.photo_file import BadPhoto

    if text is not None and not text.strip():
        typer.echo("--text is empty: describe the goods, or give --image alone.", err=True)
        raise typer.Exit(2)
    if text is None and image is None:
        typer.echo("Give --text, --image or both.", err=True)
        raise typer.Exit(2)
    pixels = None
    if image is not None:
        try:
            pixels = decode(image.read_bytes())
        except (BadPhoto, OSError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else None
            typer.echo(f"{image}: {why or problem}", err=True)
            raise typer.Exit(1) from problem
    answer = _classify(text, pixels, bundle)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(answer)


def _classify(
    text: str | None, pixels: "NDArray[np.uint8] | None", named: Path | None
) -> dict[str, Any]:
    """Return candidates, the 95 % set, similar goods and what the photo shows.

    A candidate has the English text of its first line in the Combined Nomenclature, and how many
    lines it has there.

    Args:
        text: goods description.
        pixels: a decoded photo (height, width, 3); text, photo or both must be given.
        named: folder of the bundle; see `BundleOption`.
    """
    from models.encoding.encoders import Encoders
    from models.explanation.similar_goods import similar_goods
    from models.hs.classifier import modality
    from models.hs.nomenclature import lines
    from models.scoring.bundle import BadBundle, verify
    from models.scoring.loading import load_hs
    from models.vectors import best

    with exit_on(BadBundle, FileNotFoundError):
        with Bar() as bar:
            bundle = model_bundle(named, bar)
            verify(bundle)
        descriptions: dict[str, list[str]] = {}
        for line in lines():
            descriptions.setdefault(line.hs6, []).append(line.texts[0])
    encoders, hs = Encoders(bundle), load_hs(bundle)
    text_vector = None if text is None else encoders.embed_texts([text])[0]
    photo_vector = None if pixels is None else encoders.embed_photos([pixels])[0]
    posterior = hs.posterior(text_vector, photo_vector)
    given = modality(text=text_vector is not None, photo=photo_vector is not None)
    agreement = None
    if text_vector is not None and photo_vector is not None:
        agreement = round(hs.same_goods(text_vector, photo_vector), 4)
    return {
        "candidates": [
            {
                "hs6": hs.codes[place],
                "probability": round(float(posterior.probabilities[place]), 4),
                "text": descriptions.get(hs.codes[place], [""])[0],
                "lines": len(descriptions.get(hs.codes[place], ())),
            }
            for place in best(posterior.probabilities, CANDIDATES)
        ],
        "set": list(hs.hs_set(given, posterior)),
        "similar_goods": [
            {"hs6": goods.hs6, "similarity": round(goods.similarity, 4)}
            for goods in similar_goods(
                hs, text_vector, () if photo_vector is None else (photo_vector,)
            )
        ],
        "gate_weight": round(posterior.gate_weight, 4),
        "shown": [] if photo_vector is None else hs.nomenclature.words_of(photo_vector, WORDS),
        "agreement": agreement,
    }


def _print(answer: dict[str, Any]) -> None:
    """Show the answer as a person reads it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("HS6", "probability", "nomenclature")
    for candidate in answer["candidates"]:
        text, more = candidate["text"], candidate["lines"] - 1
        if more > 0:
            text += f" (and {more} more line{'s' if more > 1 else ''})"
        table.add_row(candidate["hs6"], f"{candidate['probability']:.1%}", escape(text))
    console = Console()
    console.print(table)
    console.print(f"95 % set: {', '.join(answer['set']) or 'cannot be told'}")
    nearest = ", ".join(f"{g['hs6']} ({g['similarity']:.2f})" for g in answer["similar_goods"])
    console.print(f"Nearest past goods (cosine): {nearest or 'none'}")
    if answer["shown"]:
        console.print(f"The photo shows: {', '.join(answer['shown'])}")
    if answer["agreement"] is not None:
        console.print(f"Text and photo agree: {answer['agreement']:.0%}")
