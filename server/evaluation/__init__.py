"""``visavis eval``: scenarios in YAML, spoken to a server over a real peer connection and judged without a network."""
