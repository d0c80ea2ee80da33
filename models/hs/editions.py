"""Codes of earlier editions of the Harmonized System → those of HS 2022. Pure.

A few well-known changes, each a fact of the correlation tables of the World Customs Organization
(HS 2012 – 2017, HS 2017 – 2022) and of the UN Statistics Division; not the tables themselves. Where
a subheading was only divided, the nomenclature itself shows it: its last digit was 0.
"""

from collections.abc import Collection, Mapping
from typing import Final

MOVED: Final[Mapping[str, tuple[str, ...]]] = {
    # HS 2012 → HS 2017, unchanged since
    "284800": ("285390",),  # phosphides
    "370510": ("370500",),  # exposed and developed plates and film
    "370590": ("370500",),
    "846900": ("847290",),  # typewriters
    "847310": ("847340",),  # their parts
    "852841": ("852842",),  # monitors and projectors for data processing machines
    "852851": ("852852",),
    "852861": ("852862",),
    # HS 2017 → HS 2022
    "040310": ("040320",),  # yogurt
    "300211": ("382211",),  # malaria diagnostic test kits
    "300220": ("300241",),  # vaccines for human medicine
    "300230": ("300242",),  # vaccines for veterinary medicine
    "340211": ("340231", "340239"),  # anionic surface-active agents
    "340212": ("340241",),  # cationic
    "340213": ("340242",),  # non-ionic
    "340219": ("340249",),
    "340220": ("340250",),  # washing preparations for retail sale
    "441294": ("441251", "441252", "441259"),  # blockboard
    "490510": ("490590",),  # globes
    # Coats, and anoraks and the like, by material: wool, cotton, man-made fibres, other.
    **{
        f"{heading}{kind}{old}": (f"{heading}{new}",)
        for heading in ("6201", "6202")
        for kind in "19"
        for old, new in (("1", "20"), ("2", "30"), ("3", "40"), ("9", "90"))
    },
    "681292": ("681299",),  # asbestos paper
    "681293": ("681299",),  # asbestos jointing
    "850740": ("850780",),  # nickel-iron accumulators
    "880310": ("880710",),  # parts of aircraft
    "880320": ("880720",),
    "880330": ("880730",),
    "880390": ("880790",),
    "900651": ("900653", "900659"),  # single lens reflex cameras for film
    "900652": ("900659",),  # cameras for film narrower than 35 mm
    "911410": ("911490",),  # watch springs
    "970110": ("970121", "970191"),  # paintings, by age
    "970190": ("970122", "970129", "970192", "970199"),  # mosaics, collages
}
"""HS6 code of an earlier edition → the codes of HS 2022 that its goods have now."""
NATIONAL: Final = ("98", "99")
"""Chapters that the Harmonized System leaves to national use."""
SUBHEADING: Final = 6


def current(code: str) -> str:
    """Return a declared code as HS 2022 has it, itself in general; empty for none.

    The HS6 code that all goods of it have now, if it is of an earlier edition and there is one.
    """
    now = MOVED.get(code[:SUBHEADING], ())
    return now[0] if len(now) == 1 else code


def successors(hs6: str, codes: Collection[str]) -> tuple[str, ...]:
    """Return the codes that goods of an HS6 code may have now; none where that is not known.

    Args:
        hs6: not among `codes`.
        codes: of the nomenclature in force.
    """
    if hs6 in MOVED:
        return MOVED[hs6]
    if not hs6.endswith("0"):
        return ()
    divided = hs6[:4] if hs6[4] == "0" else hs6[:5]
    return tuple(sorted(code for code in codes if code.startswith(divided)))
