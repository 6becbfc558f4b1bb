"""Routes: the engines of each stage as the policy orders them, with breakers, repetitions, hedging and escalation."""
