"""RTVI, the protocol of Pipecat's clients, spoken on the data channel ``chat``."""
