"""`python -m tests.fuzz`: every target in turn, guided by coverage (atheris); see `make fuzz`.

Each runs in a process of its own, so that one which crashes the interpreter is found too. What is
found is kept as a file, with the command that repeats it. Its bytes become a case in test_found.py.
"""

import argparse
import logging
import random
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Final

import structlog

from tests.fuzz import catalogue
from tests.fuzz.harness import check

HERE: Final = Path("build/fuzz")
SEEDS: Final = 24
"""Files that a corpus begins with."""
LONGEST: Final = 2000
"""Of a case. Unit: bytes."""
PATIENCE_S: Final = 90
"""For a target to start, and to end."""
INSTRUMENTED: Final = ["schemas", "models", "streams"]
TRACED: Final = 5.0
"""So much slower code may be that is traced."""
PLAIN: Final = ["schemas.members"]
"""Goes over every byte of a megabyte: traced, that takes a minute."""


def main() -> int:
    """Run what the arguments ask for; returns 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together")
    parser.add_argument("--target", action="append", choices=catalogue.NAMES, help="only this one")
    parser.add_argument("--seed", type=int, default=None, help="random by default, and printed")
    parser.add_argument("--case", type=Path, help="run this file alone, of one --target")
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.target or list(catalogue.NAMES)
    if given.case:
        return _repeat(names[0], given.case.read_bytes())
    seed = random.randrange(1, 1 << 31) if given.seed is None else given.seed
    if given.seconds:
        return _fuzz(names[0], given.seconds, seed)
    print(
        f"seed {seed}; {len(names)} targets, {given.minutes * 60 / len(names):.0f} s each",
        flush=True,
    )
    found = [name for name in names if not _child(name, given.minutes * 60 / len(names), seed)]
    print(f"found something in: {', '.join(found)}" if found else "nothing found")
    return bool(found)


def _child(name: str, seconds: float, seed: int) -> bool:
    """Run a target in a process of its own; returns whether nothing was found."""
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--target",
        name,
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
    ]
    log = HERE / f"{_file_name(name)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                command, stdout=out, stderr=out, timeout=seconds + PATIENCE_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    text = log.read_text(errors="replace")
    runs = re.findall(r"#(\d+)\s", text) or ["0"]
    covered = re.findall(r"cov: (\d+)", text) or ["0"]
    print(
        f"{name}: {runs[-1]} cases, {covered[-1]} branches, {time.monotonic() - start:.0f} s",
        flush=True,
    )
    if code == 0:
        return True
    kept = re.findall(r"Test unit written to (\S+)", text)
    print("\n".join(text.splitlines()[-40:]))
    print(
        f"  repeat: python -m tests.fuzz --target '{name}' --case {kept[-1]}"
        if kept
        else f"  it ended with {code}; see {log}",
        flush=True,
    )
    return False


def _fuzz(name: str, seconds: float, seed: int) -> int:
    """Fuzz one target in this process, which ends with it."""
    import atheris  # noqa: PLC0415 - the parent goes without it

    _quiet()
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=PLAIN):
        tested = catalogue.load(name)
    corpus, found = (HERE / kind / _file_name(name) for kind in ("corpus", "found"))
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(f"{seed} {name}")
    for number in range(SEEDS):
        (corpus / f"seed-{number}").write_bytes(dice.randbytes(dice.randrange(LONGEST)))
    options = [
        f"-max_total_time={round(seconds)}", f"-max_len={LONGEST}", f"-seed={seed}", "-timeout=60",
        "-rss_limit_mb=0", f"-artifact_prefix={found}/", "-print_final_stats=1", "-reload=0",
    ]  # fmt: skip
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)],
        lambda data: check(tested, data, patience=TRACED) and None,
    )
    atheris.Fuzz()
    return 0


def _repeat(name: str, data: bytes) -> int:
    _quiet()
    print(f"{name}: {', '.join(check(catalogue.load(name), data))}")
    return 0


def _quiet() -> None:
    """Leave out what the code logs of hostile input."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _file_name(name: str) -> str:
    return name.replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
