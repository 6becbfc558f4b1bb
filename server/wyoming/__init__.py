"""Wyoming (https://github.com/OHF-voice/wyoming): the engines for Home Assistant and others that speak it, over TCP.

The wire format is written here and not taken from the ``wyoming`` package, whose reader takes messages of any size and
waits for them for ever; its client is what the tests speak with.
"""
