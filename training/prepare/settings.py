"""Where the models answer and how they are asked, from the environment alone: `PREPARE_BASE_URL=… python -m …`."""

from typing import Annotated, Any

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Price = tuple[float, float]


class EndpointSettings(BaseSettings):
    """Each is the environment variable `PREPARE_<NAME>`; the key is also found under its usual names."""

    model_config = SettingsConfigDict(env_prefix="PREPARE_", env_ignore_empty=True, populate_by_name=True)

    base_url: str = Field(
        default="https://dashscope.aliyuncs.com/compatible-mode/v1",
        description="Address of an OpenAI-compatible endpoint: DashScope, vLLM, Ollama and others.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PREPARE_API_KEY", "DASHSCOPE_API_KEY", "OPENAI_API_KEY", "api_key"),
        description="Its key, where it asks for one; `DASHSCOPE_API_KEY` and `OPENAI_API_KEY` do too.",
    )
    translate_model: str = Field(default="qwen-mt-flash", description="Model that translates.")
    caption_model: str = Field(default="qwen3-vl-32b-instruct", description="Model that describes pictures.")
    service_key: SecretStr | None = Field(
        default=None, description="API key of the service whose catalogue is read, where it asks for one."
    )
    concurrency: int = Field(default=8, ge=1, description="Requests at the same time.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds for one request.")
    retries: int = Field(default=8, ge=0, description="Tries after a first that failed for a passing reason.")
    translate_price: Annotated[Price | None, NoDecode] = Field(
        default=None,
        description="Of a million tokens in and out, as `0.1,0.3`, so that a dry run can say what it costs.",
    )
    caption_price: Annotated[Price | None, NoDecode] = Field(
        default=None, description="The same of the model that describes pictures."
    )

    @field_validator("translate_price", "caption_price", mode="before")
    @classmethod
    def _two_numbers(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            tokens_in, tokens_out = (float(part) for part in value.split(","))
        except ValueError:
            raise ValueError(f"a price is two numbers, in and out, as 0.1,0.3, not {value!r}") from None
        return tokens_in, tokens_out
