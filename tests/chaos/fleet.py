"""Workers that screen and explain, what they have to do, and what became of it."""

import os
import signal
import time
from dataclasses import replace

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import codec
from schemas.topics import ALERTS, ASSESSMENTS, DEAD_LETTERS, DECLARATIONS, EXPLANATIONS
from streams.synthetic.send import Sender
from tests.chaos.patches import patch
from tests.chaos.verifier import (
    REASONS,
    asked,
    assert_exactly_one_fate,
    committed,
    ends,
    read_all,
    unfinished,
)
from tests.conftest import ready

TOPICS = (DECLARATIONS, ASSESSMENTS, ALERTS, EXPLANATIONS, DEAD_LETTERS)
SESSION_S = 6
"""After which the group gives a dead worker's partitions to others."""
AMENDED = 0.3
"""Share of the declarations that are sent again as a next version, so that keys have an order."""

RECENT = 24
"""Of so many last declarations one is amended."""


class Fleet:
    """Workers that screen what is sent, from a mark on the topics on."""

    def __init__(self, stack, start_worker, consignments, *, group, dice, figures):
        """Take the services.

        Args:
            stack: that runs.
            start_worker: see tests/conftest.py.
            consignments: that are sent, one after the other.
            group: consumer group; new.
            dice: of the test.
            figures: of the test.
        """
        groups = {"consumer_group": group, "explain_consumer_group": f"{group}-explain"}
        self.settings = stack.settings().model_copy(update=groups)
        self.group = group
        self._defaults = stack.settings()
        self._groups = groups
        self.dice = dice
        self.figures = figures
        self.workers = []
        self._start_worker = start_worker
        self._consignments = consignments
        self._sender = Sender(self.settings)
        self._recent = []
        self.malformed = {}
        """Key → reason for which it must be refused."""
        self.mark = ends(self.settings, TOPICS)
        for name, topic in self.groups():
            self.move_group(name, topic)

    def groups(self):
        """Return each consumer group with its topic."""
        return (self.group, DECLARATIONS), (self.settings.explain_consumer_group, ALERTS)

    def move_group(self, group, topic, offsets=None):
        """Let a group without members go on at offsets; without them, at the end of the topic."""
        if offsets is None:
            offsets = {partition: end for (_, partition), end in ends(self.settings, [topic]).items()}  # fmt: skip
        places = [TopicPartition(topic.name, *place) for place in offsets.items()]
        consumer = Consumer(self.settings.confluent() | {"group.id": group, "log_level": 0})
        # A member that was killed counts until its session ends.
        deadline = time.monotonic() + 40
        while True:
            try:
                asked(lambda: consumer.commit(offsets=places, asynchronous=False))
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                break
        consumer.close()

    def start(self, *patches, name="screen", **settings):
        """Start a worker, and do not wait for it."""
        worker = self._start_worker(
            name,
            bug="; ".join([patch("session_timeout", SESSION_S), *patches]),
            **self._groups,
            # A busy machine is not the fault that is tested: without these, verdicts would degrade.
            cache_timeout_s="20",
            photo_deadline_s="60",
            **{"batch_size": "4"} | settings,
        )
        self.workers.append(worker)
        return worker

    def start_ready(self, *patches, **settings):
        """Start a worker, and wait until it screens."""
        worker = self.start(*patches, **settings)
        worker.wait_until(lambda: ready(worker), within_s=180)
        return worker

    def kill(self, worker, *, may_have_failed=False):
        """Kill a worker at once; it may have been killed before, but not have ended otherwise."""
        ended = worker.returncode
        assert may_have_failed or ended in {None, -signal.SIGKILL}, f"{ended}\n{worker.tail()}"
        worker.kill()
        self.workers.remove(worker)

    def freeze(self, worker):
        """Stop a worker's process, as a long pause of its machine would."""
        os.kill(worker.pid, signal.SIGSTOP)

    def thaw(self, worker):
        """Let it go on."""
        os.kill(worker.pid, signal.SIGCONT)

    def stop(self, *workers):
        """Ask workers to end, and assert that they do so in order."""
        for worker in workers or list(self.workers):
            assert worker.returncode is None, f"it ended by itself\n{worker.tail()}"
            begun = "health served" in worker.log.read_text()
            assert worker.stop() in ({0} if begun else {0, -signal.SIGTERM}), worker.tail()
            self.workers.remove(worker)

    def send(self, count, consignments=None, *, amended=AMENDED):
        """Send declarations, some of them amendments of the last ones.

        Args:
            count: how many.
            consignments: others than those of the fleet.
            amended: share of amendments.
        """
        for _ in range(count):
            if self._recent and self.dice.random() < amended:
                consignment = self._amended(self._recent.pop(self.dice.randrange(len(self._recent))))  # fmt: skip
            else:
                consignment = next(consignments or self._consignments)
            self._sender.send(consignment)
            truth = consignment.truth
            if truth.kind == "malformed":
                self.malformed[truth.declaration_id.encode()] = REASONS[truth.detail]
            else:
                self._recent = [*self._recent[1 - RECENT :], consignment]
        self._sender.flush()

    def renew_sender(self):
        """Connect anew, as a client that looks for new partitions."""
        self._sender = Sender(self.settings)

    @staticmethod
    def _amended(consignment):
        declaration = consignment.declaration
        declaration = replace(declaration, version=declaration.version + 1)
        return replace(
            consignment,
            declaration=declaration,
            value=lambda schema_id: codec.encode(declaration, schema_id),
        )

    def answered(self):
        """Return the number of answers on the topics."""
        return sum(ends(self.settings, [ASSESSMENTS, DEAD_LETTERS]).values())

    def recover(self, *, meanwhile=lambda: None, within_s=120):
        """Note how long it takes from now to the next answer; returns at once without anything to do.

        Args:
            meanwhile: called again and again.
            within_s: that it may take.
        """
        begin, before = time.monotonic(), self.answered()
        while self.answered() == before:
            meanwhile()
            if not self.lag():
                return
            waited = time.monotonic() - begin
            assert waited < within_s, f"no answer for {waited:.0f} s\n{self.tails()}"
            time.sleep(0.1)
        self.figures.recovery_s.append(round(time.monotonic() - begin, 1))

    def lag(self, *, explaining=False):
        """Return how many events are not committed by the screening workers, or the explaining ones."""
        group, topic = self.groups()[explaining]
        offsets = committed(self.settings, group, topic)
        return sum(
            end - offsets[partition] for (_, partition), end in ends(self.settings, [topic]).items()
        )

    def finish(self, *, explaining=False, within_s=300):
        """Wait until everything that was sent is committed."""
        deadline = time.monotonic() + within_s
        while left := self.lag(explaining=explaining):
            assert time.monotonic() < deadline, f"{left} events are left\n{self.tails()}"
            time.sleep(0.5)

    def read(self, topics=(DECLARATIONS, ASSESSMENTS, ALERTS, DEAD_LETTERS)):
        """Return what lies on the topics, from the mark on."""
        return read_all(self.settings, topics, self.mark)

    def assert_nothing_committed_unfinished(self, *, expired=frozenset()):
        """Assert that what is committed has its fate; while no worker runs."""
        offsets = committed(self.settings, self.group)
        left = unfinished(self.read(), offsets, expired)
        self.figures.lost += len(left)
        assert not left, f"committed without a fate: {left[:5]}, {len(left)} in all"

    def judge(self, *, inputs=None, **options):
        """Assert that every promise was kept; returns what was seen.

        Args:
            inputs: that were sent; those on the topic without it.
            options: see `tests.chaos.verifier.examine`.
        """
        seen = self.read(TOPICS)
        seen.inputs = inputs or seen.inputs
        options = {"malformed": self.malformed} | options
        assert_exactly_one_fate(seen, figures=self.figures, **options)
        assert seen.inputs, "nothing was sent"
        return seen

    def tails(self):
        """Return the ends of the workers' logs."""
        return "\n".join(worker.tail() for worker in self.workers)

    def clean_up(self):
        """Kill the workers, and remove what lies on the topics, so that other tests do not meet it."""
        for worker in list(self.workers):
            self.kill(worker, may_have_failed=True)
        settings = self.settings
        for group, topic in (
            (self._defaults.consumer_group, DECLARATIONS),
            (self._defaults.explain_consumer_group, ALERTS),
        ):
            if any(committed(settings, group, topic).values()):
                self.move_group(group, topic)
        places = [TopicPartition(*place, end) for place, end in ends(settings, TOPICS).items()]
        admin = AdminClient(settings.confluent())
        for removed in admin.delete_records(places).values():
            removed.result(30)
