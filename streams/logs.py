"""One JSON object a line on standard error, of this program and of the libraries it uses.

No personal data: log identifications of declarations and codes of reasons, never parties or texts.
Others' code knows nothing of that. So libraries log at INFO at most: below, Kafka's client repeats
whole events, and the one that signs requests the keys of photos. And of errors only the text of our
own is repeated, which quotes no data; of others the kind, and the lines of code.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Final

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks
from structlog.typing import EventDict

OURS: Final = ("schemas", "models", "streams")
"""Packages whose loggers and errors are our own."""
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
        problems = [f"{type(cause).__name__}: {cause}"[:300] for cause in causes]
        event["problem"] = "; ".join(dict.fromkeys(problems))  # the same may end several tasks
        event["remedy"] = "; ".join(sorted(filter(None, remedies)))
    return event


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def configure(level: str) -> None:
    """Send every log record, also of the standard library, through structlog as JSON.

    So is the error that ends the process, or a thread of it.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _plain,
        structlog.processors.ExceptionRenderer(lambda exc_info: described(exc_info[1])),
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
    handler.addFilter(_name_errors)
    libraries = "INFO" if level == "DEBUG" else level
    logging.basicConfig(level=libraries, handlers=[handler], force=True)
    for package in OURS:
        logging.getLogger(package).setLevel("DEBUG" if level == "DEBUG" else logging.NOTSET)
    sys.excepthook = _log_end
    threading.excepthook = lambda ended: _log_end(ended.exc_type, ended.exc_value)
    set_on_retry_hooks([log_wait])


def trace(error: BaseException) -> str:
    """Return where an error was raised, without its text, which may quote data."""
    return "".join(traceback.format_tb(error.__traceback__))


def described(error: BaseException) -> str:
    """Return an error as Python prints it, with the text of our own errors alone."""
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, known: set[int]) -> list[str]:
    """Return its lines, after those of what caused it; each error once."""
    known.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = []
    if before is not None and id(before) not in known:
        lines += [*_lines(before, known), "which led to:"]
    kind = type(error)
    text = f": {error}" if _is_ours(error) else ""
    lines += [*trace(error).splitlines(), f"{kind.__module__}.{kind.__qualname__}{text}"]
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            lines += [f"  | {line}" for line in _lines(each, known)]
    return lines


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in OURS


def _name_errors(record: logging.LogRecord) -> bool:
    """Put the kind of an error in its place where a library logs one in its message."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            type(value).__qualname__ if isinstance(value, BaseException) else value
            for value in record.args
        )
    return True


def _log_end(
    _kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None = None
) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt):
        log.critical("ended by an error", exc_info=error)


def log_wait(details: RetryDetails) -> None:
    """Log that a failing service is waited for; the error by its kind, for its text may quote data.

    Our own say what they met. Which service it is stands in structlog's context variables.
    """
    error = details.caused_by
    log.warning(
        "waiting for a service",
        error=type(error).__name__,
        **({"problem": str(error)} if _is_ours(error) else {}),
        attempt=details.retry_num,
        wait_s=round(details.wait_for, 2),
    )
