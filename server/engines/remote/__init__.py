"""Engines of other computers: servers that speak the REST API of OpenAI, and another visavis."""
