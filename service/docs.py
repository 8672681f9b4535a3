"""`/docs`: the API's description to read and to try.

Swagger UI comes from a package, not from a content network: a script of others on this origin could read the key that
the search page keeps.
"""

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from service import answer_examples

# Swagger UI draws its icons from data: addresses.
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Adds `/docs` and what it loads, and examples. Needs no key: it says nothing of the shop."""
    page = bytes(
        get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/web/icon.svg",
        ).body
    ).decode()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    headers = {"Content-Security-Policy": _POLICY.format(digest)}

    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    async def docs_of_a_folder() -> RedirectResponse:
        return RedirectResponse("../docs")  # relative: a proxy may have the service below a path of its own

    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_api_route("/docs/", docs_of_a_folder, include_in_schema=False)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        answer_examples.add_to(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")))
