"""How worker processes begin, whom they let go first while they load, and that none outlives its front."""
