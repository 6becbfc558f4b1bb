"""Reports of unexpected errors: where and under which circumstances, and nothing of what people said."""
