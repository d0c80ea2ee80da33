"""The one table of the mapping, and the page that prints it."""

from pathlib import Path

from schemas.records import Declaration, GoodsItem, Party
from streams.intake.wco_fields import HEADER, ITEM, ITEM_PATH

PAGE = Path(__file__).parents[3] / "docs" / "customs-messages.md"


def rows():
    """Return the table as Markdown lines."""
    for fields, below, prefix in ((HEADER, "Declaration", ""), (ITEM, ITEM_PATH, "goods_items[].")):
        for field in fields:
            own = prefix if field.name in GoodsItem.__dataclass_fields__ else ""
            id_ = field.attribute or "the class"
            yield f"| `{own}{field.name}` | {below}/{field.path} | {id_} |"


def test_the_page_prints_the_table():
    """Row by row, in order; where it fails, paste this."""
    printed = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert printed == list(rows()), "\n".join(rows())


def test_every_field_of_the_table_is_one_of_the_contract():
    """A name that the contract lacks would be dropped in silence."""
    for fields, record in ((HEADER, Declaration), (ITEM, GoodsItem)):
        for field in fields:
            whole, _, part = field.name.partition(".")
            known = {*record.__dataclass_fields__, *Declaration.__dataclass_fields__}
            assert whole in known, field.name
            assert not part or part in Party.__dataclass_fields__, field.name
