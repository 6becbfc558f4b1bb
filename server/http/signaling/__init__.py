"""How a peer and a session find each other over HTTP: the routes that take SDP offers."""
