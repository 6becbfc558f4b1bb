"""WebRTC: offers and answers, peer connections, data channels."""
