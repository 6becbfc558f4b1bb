"""One WebSocket, docked onto a session: events both ways as text, sound inside them."""
