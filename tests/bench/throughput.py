"""`make bench`: where a declaration's time goes on this machine, as shares of one run.

Machines are noisy, so nothing absolute is asserted; compare two versions by running both here.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from models.datasets.goods import read
from models.encoding.image import decode
from models.encoding.perceptual_hash import perceptual_hash
from models.risk.attributes import Attributes
from models.scoring.evidence import DeclarationEvidence, ItemEvidence
from models.scoring.scorer import Scorer
from models.training.bundle_builder import default_bundle
from schemas import codec
from schemas.records import Declaration
from streams.evidence.observations import Observation
from streams.synthetic.evidence_benchmark import stores
from streams.synthetic.irregularities import Consignment, Irregularities
from streams.synthetic.sample_catalogue import sample

ROUNDS = 200
BATCH = 16


def per_call(work: Callable[[], object]) -> float:
    """Return the seconds of one call: the median of several runs."""
    runs = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(ROUNDS // 5):
            work()
        runs.append((time.perf_counter() - start) / (ROUNDS // 5))
    return sorted(runs)[2]


def signals_per_declaration(consignments: Sequence[Consignment], photo: int) -> float:
    """Return the seconds of one declaration's signals, in micro-batches on a store that fills up."""
    observations = [
        Observation(
            each.declaration.declaration_id,
            each.declaration,
            tuple(Attributes.of(each.declaration, item) for item in each.declaration.goods_items),
            ((photo,),) * len(each.declaration.goods_items),
            each.declaration.acceptance_time.timestamp(),
        )
        for each in consignments
    ]
    with stores(1) as (signals,), asyncio.Runner() as runner:
        start = time.perf_counter()
        for first in range(0, len(observations), BATCH):
            runner.run(signals.gather(observations[first : first + BATCH]))
        return (time.perf_counter() - start) / len(observations)


def evidence_of(scorer: Scorer, consignment: Consignment) -> DeclarationEvidence:
    """Embed the goods items of a consignment."""
    items = [
        ItemEvidence(
            item,
            scorer.embed_texts([item.description])[0],
            tuple(
                scorer.embed_photos([decode(consignment.photos[image.sha256])])[0]
                for image in item.images
            ),
        )
        for item in consignment.declaration.goods_items
    ]
    return DeclarationEvidence(consignment.declaration, tuple(items))


def main() -> None:
    """Print each step's time and its share."""
    goods = read(sample())
    scorer = Scorer.load(default_bundle())
    source = Irregularities(goods, bucket="b", run="R", seed=1, shares={"clean": 1.0})
    consignments = list(source.consignments(BATCH * ROUNDS // 5))
    consignment = consignments[0]
    declaration, value = consignment.declaration, consignment.value(1)
    assert value is not None
    writers = {1: codec.schema("declaration")}
    item = declaration.goods_items[0]
    photo = next(iter(consignment.photos.values()))
    pixels = decode(photo)
    batch = [evidence_of(scorer, each) for each in consignments[:BATCH]]
    steps: dict[str, Callable[[], object]] = {
        "decode the event": lambda: codec.decode(value, Declaration, writers),
        "decode a photo": lambda: decode(photo),
        "embed a photo": lambda: scorer.embed_photos([pixels]),
        "embed a text": lambda: scorer.embed_texts([item.description]),
        "hash a photo": lambda: perceptual_hash(pixels),
    }
    times = {name: per_call(work) for name, work in steps.items()}
    # Another scorer with the same model has given no answers yet.
    times["score"] = per_call(lambda: scorer.with_hs(scorer.hs).score(batch)) / BATCH
    scored_before = per_call(lambda: scorer.score(batch)) / BATCH
    times["live signals"] = signals_per_declaration(consignments, perceptual_hash(pixels))
    total = sum(times.values())
    for name, seconds in times.items():
        print(f"{name:18} {seconds * 1000:7.2f} ms  {seconds / total:5.0%}")
    print(f"{'score, known goods':18} {scored_before * 1000:7.2f} ms")
    print(f"{'one declaration':18} {total * 1000:7.2f} ms, one core, nothing cached")


if __name__ == "__main__":
    main()
