"""Which environment variables are settings of the service."""

from service.settings import Settings


def is_setting(variable: str) -> bool:
    known = {name.upper() if name.startswith("qdrant") else f"SEARCH_{name.upper()}" for name in Settings.model_fields}
    return variable in known
