"""What became of a scenario: judged on samples, on events and on words, without a network. Pure but for the ear."""
