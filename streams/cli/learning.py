"""`redlane train …` and `redlane evaluate …`."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from streams.cli.exits import exit_on
from streams.progress import Bar

training = typer.Typer(
    help="Train a model on goods or declarations of your own.", no_args_is_help=True
)
evaluation = typer.Typer(help="Measure a model on data that it has not seen.", no_args_is_help=True)
ARTIFACTS: Final = Path("models/artifacts")


@training.command("hs")
def train_hs(
    goods: Annotated[Path, typer.Option(help="Folder of goods with splits train and valid.")],
    out: Annotated[Path, typer.Option(help="Write the artefacts to this folder.")] = ARTIFACTS,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 7,
    text_encoder: Annotated[
        str, typer.Option(help="`packaged`, or a transformers model: directory or hub id.")
    ] = "packaged",
    image_encoder: Annotated[
        str, typer.Option(help="`packaged`, or a transformers model: directory or hub id.")
    ] = "packaged",
    fusion: Annotated[
        str, typer.Option(help="multconcat, concatenation, gated, attention or late.")
    ] = "multconcat",
    tune: Annotated[
        bool, typer.Option(help="Tune the packaged encoders: an hour instead of minutes.")
    ] = True,
    withhold: Annotated[
        int, typer.Option(help="Leave this many codes out of all training, to measure unseen ones.")
    ] = 0,
) -> None:
    """Train the HS model: which goods belong to which code, from text and photo.

    Writes the artefacts that a bundle is built from: tuned encoders, fusion network, exemplars,
    calibration, and the risk model that depends on them. About an hour on two cores.

    **Examples**

    `redlane train hs --goods ./goods --out ./artifacts`

    `redlane train hs --goods ./goods --out ./artifacts --text-encoder ./xlm-roberta-base`

    `redlane train hs --goods ./goods --no-tune --withhold 15 --out models/artifacts/unseen`
    """
    from models.datasets.goods import BadCatalogue
    from models.training.hs_classifier import Choices, train
    from models.training.pretrained import BadEncoder
    from streams.synthetic.sample_catalogue import sample

    choices = Choices(seed, text_encoder, image_encoder, fusion, tune, withhold)
    with exit_on(BadCatalogue, BadEncoder), Bar() as bar:
        train(goods, sample(bar), out, choices, bar)
    typer.echo(f"Wrote {out}")


@evaluation.command("hs")
def evaluate_hs(
    goods: Annotated[Path, typer.Option(help="Folder of goods.")],
    split: Annotated[str, typer.Option(help="Which split to measure on.")] = "test",
    plots: Annotated[Path | None, typer.Option(help="Write two plots to this folder.")] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also train and compare the kinds of fusion.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the HS codes from text, photo and both, over the whole nomenclature.

    Top-1, top-3, top-5, macro-F1, calibration error, coverage and mean size of the 95 % sets;
    agreement of text and photo; codes that no training covered; text in four languages. With
    --ablation it also trains each kind of fusion on the split train and compares them on valid.

    **Examples**

    `redlane evaluate hs --goods ./goods`

    `redlane evaluate hs --goods ./goods --split valid --plots ./plots --json`
    """
    import json

    from models.datasets.goods import BadCatalogue
    from models.evaluation.hs_classifier import compare
    from models.evaluation.hs_classifier import evaluate_hs as evaluate

    with exit_on(BadCatalogue), Bar() as bar:
        figures = evaluate(goods, split, plots, bar)
        if ablation:
            figures["fusion"] = compare(goods, say=bar)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        _print_figures(figures)


def _print_figures(figures: dict[str, Any]) -> None:
    """Show an evaluation of the HS model as a person reads it."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *figures["both"], title="HS6 codes over the whole nomenclature")
    for name in ("text", "image", "both"):
        row = (f"{v:.2f}" if k == "set_size" else f"{v:.1%}" for k, v in figures[name].items())
        table.add_row(name, *row)
    console = Console()
    console.print(table)
    console.print(
        f"Agreement of text and photo, area under the curve: {figures['agreement_auc']:.3f}"
    )
    for name, share in figures["unseen"].items():
        console.print(f"Unseen codes, {name}: {share if share > 1 else format(share, '.1%')}")
    for kind, row in figures.get("fusion", {}).items():
        shares = ", ".join(f"{name} {share:.1%}" for name, share in row.items())
        console.print(f"Fusion {kind}, top-1 on valid: {shares}")
    languages = figures["languages"].items()
    shares = ", ".join(f"{language} {share:.1%}" for language, share in languages)
    console.print(f"Customs texts by language, top-5: {shares}")


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
    from models.scoring.scorer import Scorer
    from models.training.bundle_builder import default_bundle
    from streams.synthetic.evidence_benchmark import COMBINATIONS, stores
    from streams.synthetic.evidence_benchmark import evaluate_evidence as evaluate

    with exit_on(BadDeclarations, BadCatalogue), Bar() as bar, stores(rounds) as signals:
        scorer = Scorer.load(default_bundle(bar))
        figures = evaluate(
            goods, declarations, scorer, signals, as_labelled=as_labelled, seed=seed, say=bar
        )
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    kinds = figures["all"]["by_kind"]
    table = Table("evidence", "recall at 10 %", "ECE", *kinds, title="Synthetic pairing")
    for name in COMBINATIONS:
        row = figures[name]
        recall = f"{row['recall_at_10']:.1%} ± {row['spread']:.1%}"
        by_kind = (f"{row['by_kind'][kind]:.0%}" for kind in kinds)
        table.add_row(name, recall, f"{row['ece']:.3f}", *by_kind)
    Console().print(table)


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
    artifacts: Annotated[
        Path | None, typer.Option(help="Learned artefacts, from `redlane train hs --out`.")
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
    import json

    from models.datasets.declarations import BadDeclarations
    from models.datasets.goods import BadCatalogue
    from models.evaluation.explanations import evaluate_explain as evaluate
    from models.scoring.release_gate import JUDGED, gate, record
    from models.training.bundle_builder import ARTIFACTS as PACKAGED

    with exit_on(BadDeclarations, BadCatalogue):
        with Bar() as bar:
            figures = evaluate(goods, declarations, split, artifacts or PACKAGED, bar)
        if artifacts is not None and split == JUDGED:
            record(artifacts, figures)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
    else:
        _print_explain(figures)
    if failed := gate(figures):
        typer.echo("Must not be released:\n" + "\n".join(failed), err=True)
        raise typer.Exit(1)


def _print_explain(figures: dict[str, Any]) -> None:
    """Show an evaluation of the explanations as a person reads it."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "", "deletion", "at random", "insertion", "at random", title="Mean risk along the curves"
    )
    for name in ("text", "image", "attributes"):
        table.add_row(name, *(f"{area:.3f}" for area in figures[name].values()))
    console = Console()
    console.print(table)
    console.print(f"Planted words found: {figures['planted_word']:.1%}")
    console.print(f"Planted objects found: {figures['planted_object']:.1%}")
    for name, likeness in figures["sanity"].items():
        console.print(f"Rank correlation after {name.replace('_', ' ')}: {likeness:.2f}")
    console.print(f"Same input, same explanation: {'yes' if figures['stable'] else 'no'}")
