"""What the server used and how it fared: sampled every second, kept for three days in memory and longer on disk."""
