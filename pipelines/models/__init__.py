"""Model files: what exists (catalogue), where from (sources), where kept (store)."""
