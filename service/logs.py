"""Log lines as JSON objects, one a line, on standard error."""

import logging
import logging.config
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being answered; every line written meanwhile carries it."""


class StartupFailed(Exception):
    """The service cannot start; the reason was logged in words."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "request_id"?, …}`; `extra={"fields": {…}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["request_id"] = current
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate out of a URL, which UTF-8 cannot hold
            clean = {key: str(value).encode("ascii", "backslashreplace").decode() for key, value in line.items()}
            return orjson.dumps(clean).decode()


def configure(level: str) -> None:
    """Sends every logger of the process through `JsonFormatter`."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "filters": {"known": {"()": lambda: _without_known_traceback}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["known"]}},
            "root": {"level": level, "handlers": ["stderr"]},
            # A client library's line for every call would drown ours.
            "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
        }
    )


def _without_known_traceback(record: logging.LogRecord) -> bool:
    # The server logs the traceback of any failed start; where the reason was said in words, it only hides it.
    return not (record.name == "uvicorn.error" and StartupFailed.__name__ in record.getMessage())
