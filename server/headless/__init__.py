"""A client without a screen: one peer connection to a server, sounds to say and sounds that come back."""
