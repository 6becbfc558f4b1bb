"""``GET /openapi.json``: what this server serves over HTTP, as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""
