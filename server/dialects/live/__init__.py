"""OpenAI's Live protocol, experimental: the events of ``openai.types.live`` (``openai`` 3.57) on the data channel."""
