"""Threads, child processes, batching, and the hardware that there is."""
