"""Log lines on standard error: JSON objects, one a line, or text for people."""

import logging
import logging.config
import re
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request being answered; every line written meanwhile carries it."""

search_id: ContextVar[str | None] = ContextVar("search_id", default=None)
"""Id of the search being answered; as `request_id`, of which one may have many."""

request_fields: ContextVar[dict[str, Any]] = ContextVar("request_fields")
"""What the request's own line says besides; one object for all tasks of a request."""


def begin_search() -> str:
    """A new search's id, from here on in the lines of this task and in its request's own."""
    new = uuid.uuid4().hex
    search_id.set(new)
    if (about := request_fields.get(None)) is not None:
        about["search_id"] = f"{about['search_id']},{new}" if "search_id" in about else new
    return new


class StartupFailed(Exception):
    """The service cannot start; the reason was logged in words."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "request_id"?, …}`; `extra={"fields": {…}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate out of a URL, which UTF-8 cannot hold
            clean = {key: str(value).encode("ascii", "backslashreplace").decode() for key, value in line.items()}
            return orjson.dumps(clean).decode()


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """The same for a terminal: `time level logger: message name=value …`, and a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields_of(record).items())
        line = f"{_time_of(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        # What clients chose must look neither like another line nor like a terminal's commands.
        line = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), line)
        line = line.encode("utf-8", "backslashreplace").decode()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    ids = {"request_id": request_id.get(), "search_id": search_id.get()}
    return {name: value for name, value in ids.items() if value is not None} | getattr(record, "fields", {})


def configure(level: str, form: Literal["json", "text"] = "json") -> None:
    """Sends every logger of the process through one formatter."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}, "text": {"()": TextFormatter}},
            "filters": {"known": {"()": lambda: _without_known_traceback}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form, "filters": ["known"]}},
            "root": {"level": level, "handlers": ["stderr"]},
            # A client library's line for every call would drown ours.
            "loggers": {"httpx": {"level": "WARNING"}, "httpcore": {"level": "WARNING"}},
        }
    )


def _without_known_traceback(record: logging.LogRecord) -> bool:
    # The server logs the traceback of any failed start; where the reason was said in words, it only hides it.
    return not (record.name == "uvicorn.error" and StartupFailed.__name__ in record.getMessage())
