"""One JSON object a line on standard error, of this program and of the libraries it uses.

No personal data: log identifications of declarations and codes of reasons, never parties or texts.
"""

import logging
import sys
import traceback
from collections.abc import Iterator

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks
from structlog.typing import EventDict

log = structlog.get_logger(__name__)
_remedies: dict[type[BaseException], str] = {}
"""Kind of error → what an operator does about it."""


def tell_plainly(remedy: str, *kinds: type[BaseException]) -> None:
    """Log errors of these kinds without a trace: not our code is wrong, but a user or a right."""
    _remedies.update(dict.fromkeys(kinds, remedy))


def _plain(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace the trace of such an error by what it says and what to do."""
    error = event.get("exc_info")
    if error is True or isinstance(error, tuple):
        error = sys.exc_info()[1] if error is True else error[1]
    causes = list(_leaves(error)) if isinstance(error, BaseException) else []
    remedies = {_remedies.get(type(cause)) for cause in causes}
    if causes and None not in remedies:
        del event["exc_info"]
        event["problem"] = "; ".join(f"{type(cause).__name__}: {cause}"[:300] for cause in causes)
        event["remedy"] = "; ".join(sorted(filter(None, remedies)))
    return event


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def configure(level: str) -> None:
    """Send every log record, also of the standard library, through structlog as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _plain,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    set_on_retry_hooks([log_wait])


def trace(error: BaseException) -> str:
    """Return where an error was raised, without its text, which may quote data."""
    return "".join(traceback.format_tb(error.__traceback__))


def log_wait(details: RetryDetails) -> None:
    """Log that a failing service is waited for; by the error's kind, for its text may quote data.

    Which service it is stands in structlog's context variables.
    """
    log.warning(
        "waiting for a service",
        error=type(details.caused_by).__name__,
        attempt=details.retry_num,
        wait_s=round(details.wait_for, 2),
    )
