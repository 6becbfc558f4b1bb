"""How well the end of a turn is found: pauses of spoken sentences, and what each setting makes of them."""
