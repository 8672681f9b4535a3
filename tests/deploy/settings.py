"""Which environment variables are settings of the service."""

from service.settings import Settings

# Until keys are settings of this service, they are given to it all the same.
_KEYS = {"SEARCH_SEARCH_KEYS", "SEARCH_INGEST_KEYS"}


def is_setting(variable: str) -> bool:
    known = {name.upper() if name.startswith("qdrant") else f"SEARCH_{name.upper()}" for name in Settings.model_fields}
    return variable in known | _KEYS
