"""`redlane train …` and `redlane evaluate …`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from streams.cli.exits import exit_on, requires
from streams.cli.models import tables
from streams.cli.models.bundle import BundleOption, check_artifacts, model_bundle
from streams.progress import Bar

training = typer.Typer(
    help="Train a model on goods or declarations of your own.", no_args_is_help=True
)
evaluation = typer.Typer(help="Measure a model on data that it has not seen.", no_args_is_help=True)
ARTIFACTS: Final = Path("models/artifacts")


class Licence(StrEnum):
    """Which sources to learn from."""

    ANY = "any"
    OPEN = "open"


class Fusion(StrEnum):
    """The names in `models.networks.fusion.KINDS`."""

    MULTCONCAT = "multconcat"
    CONCATENATION = "concatenation"
    GATED = "gated"
    ATTENTION = "attention"
    LATE = "late"


@training.command("hs")
def train_hs(
    goods: Annotated[
        list[Path],
        typer.Option(help="Folder of goods with splits train and valid; may be given repeatedly."),
    ],
    texts: Annotated[
        Path, typer.Option(help="CSV file of goods texts with their codes, or a folder of such.")
    ],
    out: Annotated[Path, typer.Option(help="Write the artefacts to this folder.")] = ARTIFACTS,
    licence: Annotated[
        Licence, typer.Option(help="`open`: leave out sources that are for research alone.")
    ] = Licence.ANY,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    text_encoder: Annotated[
        str, typer.Option(help="`packaged`, or a transformers model: directory or hub id.")
    ] = "packaged",
    image_encoder: Annotated[
        str, typer.Option(help="`packaged`, or a transformers model: directory or hub id.")
    ] = "packaged",
    fusion: Annotated[
        Fusion, typer.Option(help="How the network joins text and photo.")
    ] = Fusion.MULTCONCAT,
    tune: Annotated[
        bool, typer.Option(help="Tune the encoders and the experts of text: hours.")
    ] = True,
    keep_trust: Annotated[
        bool,
        typer.Option(
            "--keep-trust", help="Keep trust.json: do not train the experts without some sources."
        ),
    ] = False,
) -> None:
    """Train the HS model: which goods belong to which code, from text and photo.

    Writes the artefacts that a bundle is built from: tuned encoders, experts of text, fusion
    network, past texts and goods, calibration, and the risk model that depends on them. The experts
    are trained five times: once on all texts, and four times without some sources, to learn how far
    to trust them on others. A training that is cut short goes on when started again.

    With 170,000 texts and 15,000 photos on two cores about nine hours, of which --keep-trust spares
    five and --no-tune all but one; minutes on a GPU.

    **Examples**

    `redlane train hs --goods ./goods --goods ./photos --texts ./texts`

    `redlane train hs --goods ./goods --texts ./texts.csv --out ./artifacts --no-tune`

    `redlane train hs --goods ./goods --texts ./texts --licence open --out ./artifacts`
    """
    from models.datasets.goods import BadCatalogue
    from models.datasets.texts import BadTexts, files
    from models.training.hs_classifier import Choices, train
    from models.training.pretrained import BadEncoder
    from models.training.splits import Sources
    from streams.synthetic.sample_catalogue import sample

    choices = Choices(seed, text_encoder, image_encoder, fusion, tune, keep_trust)
    with exit_on(BadCatalogue, BadTexts, BadEncoder), Bar() as bar:
        data = Sources(tuple(goods), files(texts), sample(bar), licence is Licence.OPEN)
        train(data, out, choices, bar)
    typer.echo(f"Wrote {out}")


@evaluation.command("hs")
def evaluate_hs(
    goods: Annotated[Path | None, typer.Option(help="Folder of goods with photos.")] = None,
    texts: Annotated[
        Path | None, typer.Option(help="CSV file of goods texts, or a folder of such files.")
    ] = None,
    held_back: Annotated[
        bool,
        typer.Option("--held-back", help="Only those texts that `train hs` sets aside for this."),
    ] = False,
    bundle: BundleOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Which split of the goods to measure on; else `test`, or all if there are none."
        ),
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write two plots to this folder.")] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also train and compare the kinds of fusion.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how well HS codes are named, over the whole nomenclature.

    Accuracy (of the code, and of its heading and chapter), calibration error (and what it would be
    by chance, of so few goods, if every confidence were right), coverage and mean size of the 95 %
    sets, and the share of goods of which the set says anything.

    --goods measures text, photo and both, on goods.csv with photos: columns item_id, image,
    description and hs6. A row without description is photo only. --ablation trains more
    networks.

    --texts measures texts alone, and also how well the risk separates false codes from right ones:
    far ones of another heading, near ones of another heading of the same chapter, and others of the
    same heading. The columns are id, source, lang, text and hs6. About 4 ms a text. Of files that
    the model was trained on, --held-back measures the texts that it did not see.

    Rows whose code the bundle's nomenclature lacks are left out.

    **Examples**

    `redlane evaluate hs --texts ./parcels.csv`

    `redlane evaluate hs --texts ./texts --bundle ./bundle --json`

    `redlane evaluate hs --goods ./goods --split valid --plots ./plots`
    """
    if (goods is None) == (texts is None):
        raise typer.BadParameter("Give --goods or --texts.")
    if texts is not None and (split or plots or ablation):
        raise typer.BadParameter("--split, --plots and --ablation need --goods.")
    if texts is None and held_back:
        raise typer.BadParameter("--held-back needs --texts.")
    import json

    with requires("build"):
        from models.datasets.goods import BadCatalogue
        from models.datasets.texts import BadTexts, files
        from models.evaluation.texts import evaluate_texts
        from models.scoring.bundle import BadBundle
        from models.scoring.scorer import Scorer

    with exit_on(BadCatalogue, BadTexts, BadBundle), Bar() as bar:
        if texts is not None:
            named = files(texts)
            scorer = Scorer.load(model_bundle(bundle, bar))
            figures = evaluate_texts(named, scorer, bar, held_back=held_back)
        else:
            figures = _evaluate_goods(
                cast("Path", goods), split, model_bundle(bundle, bar), plots, bar, ablation
            )
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    elif texts is not None:
        tables.print_texts(figures)
    else:
        tables.print_goods(figures)


def _evaluate_goods(
    goods: Path,
    split: str | None,
    bundle: Path,
    plots: Path | None,
    bar: Bar,
    ablation: bool,
) -> dict[str, Any]:
    from models.evaluation.hs_classifier import compare
    from models.evaluation.hs_classifier import evaluate_hs as evaluate

    figures = evaluate(goods, split, bundle, plots, bar)
    if ablation:
        figures["fusion"] = compare(goods, bundle, say=bar)
    return figures


@training.command("risk")
def train_risk(
    declarations: Annotated[Path, typer.Option(help="Folder with train.csv, labelled.")],
    out: Annotated[Path, typer.Option(help="Write the artefacts to this folder.")] = ARTIFACTS,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
) -> None:
    """Train the tabular risk: which declarations are irregular, by attributes and past inspections.

    Writes the artefacts that a bundle is built from: trees, the network over their leaves and their
    scale. A minute on two cores. The columns are those of the Customs Declaration Datasets.

    **Example**

    `redlane train risk --declarations ./declarations --out ./artifacts`
    """
    from models.datasets.declarations import BadDeclarations, read
    from models.training.tabular_risk import fit

    with exit_on(BadDeclarations), Bar() as bar:
        fitted, _ = fit(read(declarations, "train"), seed=seed, say=bar)
    fitted.save(out)
    typer.echo(f"Wrote {out}")


@evaluation.command("evidence")
def evaluate_evidence(
    goods: Annotated[Path, typer.Option(help="Folder of goods with the split test.")],
    declarations: Annotated[Path, typer.Option(help="Folder with train.csv and valid.csv.")],
    bundle: BundleOption = None,
    rounds: Annotated[int, typer.Option(min=1, help="Pairings; a minute each.")] = 5,
    as_labelled: Annotated[
        bool, typer.Option("--as-labelled", help="Keep all of the declarations' own frauds.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what text, photo and both add to a declaration's attributes.

    The pairing is synthetic, because no public data set has all three: real declarations get text
    and photo of real goods of their code. Misclassification to a lower duty, reuse of photos,
    undervaluation and splitting are injected beside the declarations' own frauds. The main figure
    is the share of all irregular declarations that the riskiest 10 of 100 include.

    **Examples**

    `redlane evaluate evidence --goods ./goods --declarations ./declarations`

    `redlane evaluate evidence --goods ./goods --declarations ./declarations --as-labelled --json`
    """
    import json

    from models.datasets.declarations import BadDeclarations
    from models.datasets.goods import BadCatalogue
    from models.scoring.bundle import BadBundle
    from models.scoring.scorer import Scorer
    from streams.synthetic.evidence_benchmark import evaluate_evidence as evaluate
    from streams.synthetic.evidence_benchmark import stores

    with (
        exit_on(BadDeclarations, BadCatalogue, BadBundle),
        Bar() as bar,
        stores(rounds) as signals,
    ):
        scorer = Scorer.load(model_bundle(bundle, bar))
        figures = evaluate(
            goods, declarations, scorer, signals, as_labelled=as_labelled, seed=seed, say=bar
        )
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        tables.print_evidence(figures)


@evaluation.command("risk")
def evaluate_risk(
    declarations: Annotated[Path, typer.Option(help="Folder with train.csv and valid.csv.")],
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train the tabular risk on DIR/train.csv, and measure it once on DIR/valid.csv.

    Precision among the riskiest 5 and 10 of 100, area under the ROC curve, calibration error, and
    the share of the frauds' revenue found in 10 of 100. A minute on two cores.

    **Examples**

    `redlane evaluate risk --declarations ./declarations`

    `redlane evaluate risk --declarations ./declarations --json`
    """
    import json

    from models.datasets.declarations import BadDeclarations
    from models.evaluation.tabular_risk import evaluate_risk as evaluate

    with exit_on(BadDeclarations), Bar() as bar:
        figures = evaluate(declarations, seed=seed, say=bar)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    texts = {
        "p_at_5": "Irregular among the riskiest 5 of 100",
        "p_at_10": "Irregular among the riskiest 10 of 100",
        "auc": "Area under the ROC curve",
        "ece": "Expected calibration error",
        "revenue_at_10": "Revenue found in 10 of 100",
    }
    for name, text in texts.items():
        typer.echo(f"{text:40} {figures[name]:.3f}")


@evaluation.command("explain")
def evaluate_explain(
    goods: Annotated[Path, typer.Option(help="Folder of goods, with the split train.")],
    declarations: Annotated[Path, typer.Option(help="Folder with train.csv and valid.csv.")],
    split: Annotated[str, typer.Option(help="Which split to explain.")] = "test",
    bundle: BundleOption = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(help="Build the bundle of these artefacts, from `redlane train hs --out`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure whether explanations are faithful; exits with 1 if the model must not be released.

    Deletion and insertion curves against random orders, planted words and objects that the
    explanation must find, a shuffled model whose explanation must differ. Some minutes on two
    cores.

    With --artifacts, and on the split test, the figures are stored in that folder. Workers accept
    only bundles that `redlane bundle` built from artefacts with figures that pass.

    **Examples**

    `redlane evaluate explain --goods ./goods --declarations ./declarations`

    `redlane evaluate explain --goods ./goods --declarations ./declarations --split valid --json`

    `redlane evaluate explain --goods ./goods --declarations ./declarations --artifacts ./artifacts`
    """
    if bundle is not None and artifacts is not None:
        raise typer.BadParameter("Give --bundle or --artifacts.")
    import json

    from models.datasets.declarations import BadDeclarations
    from models.datasets.goods import BadCatalogue
    from models.evaluation.explanations import evaluate_explain as evaluate
    from models.scoring.bundle import BadBundle
    from models.scoring.release_gate import JUDGED, gate, record
    from models.training.bundle_builder import default_bundle

    with exit_on(BadDeclarations, BadCatalogue, BadBundle):
        if artifacts is not None:
            check_artifacts(artifacts)
        with Bar() as bar:
            folder = default_bundle(bar, artifacts) if artifacts else model_bundle(bundle, bar)
            figures = evaluate(goods, declarations, folder, split, bar)
        if artifacts is not None and split == JUDGED:
            record(artifacts, figures)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        tables.print_explain(figures)
    if failed := gate(figures):
        typer.echo("Must not be released:\n" + "\n".join(failed), err=True)
        raise typer.Exit(1)
