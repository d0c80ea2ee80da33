"""Events are released in the order of their offsets, whatever order they finish in."""

from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.acker import Acker


def test_a_finished_event_waits_for_those_before_it():
    """Offset 1 is done first; nothing is released before 0 is."""
    released = []
    acker = Acker(clock=lambda: 0.0)
    tickets = [acker.track("p0", lambda n=n: released.append(n)) for n in range(3)]
    acker.done(tickets[1])
    assert released == []
    acker.done(tickets[0])
    assert released == [0, 1]
    assert acker.under_way == 1


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.randoms())
def test_every_partition_releases_a_prefix_and_in_the_end_all(partitions, random):
    """At any moment what is released is a prefix of what came, partition by partition."""
    released = {p: [] for p in partitions}
    came = {p: [] for p in partitions}
    done = set()
    acker = Acker(clock=lambda: 0.0)
    tickets = []
    for number, p in enumerate(partitions):
        came[p].append(number)
        tickets.append((number, acker.track(p, lambda n=number, p=p: released[p].append(n))))
    random.shuffle(tickets)
    for number, ticket in tickets:
        acker.done(ticket)
        done.add(number)
        for p, order in came.items():
            prefix = order[: len(released[p])]
            assert released[p] == prefix
            assert set(prefix) <= done
    assert released == came
    assert acker.under_way == 0


def test_the_oldest_age_tells_a_stall():
    """The age is that of the oldest event which is not released."""
    now = [10.0]
    acker = Acker(clock=lambda: now[0])
    assert acker.oldest_age == 0.0
    first = acker.track("p0", lambda: None)
    now[0] = 12.0
    second = acker.track("p0", lambda: None)
    acker.done(second)
    now[0] = 15.0
    assert acker.oldest_age == 5.0
    acker.done(first)
    assert acker.oldest_age == 0.0
