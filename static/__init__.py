"""The browser client: plain ES modules, served as they are."""
