"""Every private name of aiortc and aioice that is used, and the release line that they belong to."""
