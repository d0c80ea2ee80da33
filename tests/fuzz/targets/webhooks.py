"""What a case management system answers to a webhook."""

from unittest.mock import patch

from pydantic import SecretStr

from schemas.codec import Undecodable
from streams.settings import Settings
from streams.webhook import receiver
from streams.webhook.event import Webhook
from streams.webhook.receiver import LONGEST_RETRY_AFTER_S, Receiver, ReceiverFailed, retry_after
from tests.fuzz import mutations
from tests.fuzz.choices import Choices
from tests.fuzz.harness import run, target
from tests.fuzz.targets.addresses import answer, server

SECRET = SecretStr("whsec_" + "A" * 32)
TIMES = ("0", "1", "9" * 400, "-1", "1e9", "Mon, 02 Nov 2026 09:30:20 GMT", "Mon, 02 Nov 99999 00:00:00 +9999", "²")  # fmt: skip


@target("receiver", "taken", "failed", weight=0.4)
def answers(choices: Choices) -> str:
    """Bytes in place of HTTP; a body without end; a time to wait until the end of time."""
    asked = choices.pick((choices.pick(TIMES), mutations.text(choices, most=300)))
    assert 0 <= retry_after(asked, 1.8e9) <= LONGEST_RETRY_AFTER_S
    service = server()
    service.pause_s = 0.0
    pieces = [answer(choices, choices.pick((b"", b"ok", b"y" * 3_000_000)))]
    service.answers = lambda _request: pieces

    async def deliver():
        client = Receiver(
            Settings(
                deliver_url=service.url,
                deliver_secret=SECRET,
                deliver_timeout_s=0.4,
                deliver_retry_s=0.1,
            )
        )
        try:
            await client.deliver("alerts", Webhook("id", b"{}"))
        finally:
            await client.close()

    with (
        patch.object(receiver, "FIRST_WAIT_S", 0.01),
        patch.object(receiver, "LONGEST_WAIT_S", 0.02),
        patch.object(receiver, "LONGEST_RETRY_AFTER_S", 0.1),
    ):
        try:
            run(deliver())
        except ReceiverFailed:
            return "failed"
        except Undecodable as refused:
            return refused.reason
    return "taken"
