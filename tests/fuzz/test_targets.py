"""Every border on hostile input: each case ends in a reason code, within limits (harness.py).

The same targets run guided by coverage: `make fuzz`.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz import catalogue
from tests.fuzz.harness import check

EXAMPLES = 40
"""Of a target of weight 1; few, because `make test` runs them all."""
SMALL = [name for name in catalogue.NAMES if name not in catalogue.WITH_BUNDLE]


def fuzz(name, examples):
    """Run a target on bytes that hypothesis chooses, the same at every run."""
    tested = catalogue.load(name)

    @settings(
        max_examples=max(8, round(examples * tested.weight)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.binary(max_size=1500))
    def case(data):
        check(tested, data)

    case()


@pytest.mark.parametrize("name", SMALL)
def test_hostile_input_ends_in_a_reason_code(name):
    """Values, texts, photos, addresses, headers, contents of Redis, reference data, forms."""
    fuzz(name, EXAMPLES)


@pytest.mark.parametrize("name", catalogue.WITH_BUNDLE)
def test_any_declaration_gets_its_verdict_from_the_packaged_model(name, bundle):
    """Whatever its fields, its signals and the reference data."""
    fuzz(name, EXAMPLES)
