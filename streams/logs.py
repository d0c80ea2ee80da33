"""One JSON object a line on standard error, of this program and of the libraries it uses.

No personal data: log identifications of declarations and codes of reasons, never parties or texts.
"""

import logging
import sys
import traceback

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

log = structlog.get_logger(__name__)


def configure(level: str) -> None:
    """Send every log record, also of the standard library, through structlog as JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        # A line below the level costs nothing, whatever is in it.
        wrapper_class=structlog.make_filtering_bound_logger(level),
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
