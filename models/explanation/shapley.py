"""Exact shares of evidence in groups (Owen, 1977), and thereby Shapley's of the groups."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations


def owen(
    groups: Mapping[str, Sequence[str]], value: Callable[[frozenset[str]], float]
) -> dict[str, float]:
    """Return the share of each player in value(all) - value(none).

    A player's share is the mean of what it adds, over the orders in which whole groups come one
    after the other. So the shares of a group's players add up to the group's share among groups
    (Shapley, 1953), and all shares to the whole difference.

    Args:
        groups: names → the players of each.
        value: of a coalition of players; called once for each.
    """
    values: dict[frozenset[str], float] = {}

    def of(coalition: frozenset[str]) -> float:
        if coalition not in values:
            values[coalition] = value(coalition)
        return values[coalition]

    shares = {}
    for name, players in groups.items():
        others = [other for other in groups if other != name]
        for player in players:
            rest = [other for other in players if other != player]
            shares[player] = sum(
                outer * inner * (of(before | {player}) - of(before))
                for earlier_groups, outer in _weighted(others)
                for earlier, inner in _weighted(rest)
                for before in [
                    frozenset(chain(earlier, *(groups[other] for other in earlier_groups)))
                ]
            )
    return shares


def _weighted(players: Sequence[str]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the subsets of players, each with the share of orders in which they come before."""
    count = len(players)
    for size in range(count + 1):
        weight = 1 / ((count + 1) * math.comb(count, size))
        for subset in combinations(players, size):
            yield subset, weight
