"""The starter chat model: its conversations (a grammar), its training, its examination."""
