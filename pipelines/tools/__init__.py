"""Tools that the server runs itself when a language model calls them: functions, HTTP endpoints, MCP servers."""
