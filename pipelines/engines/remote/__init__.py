"""Engines on other machines: Ray Serve runs them, a process of ours asks Ray, and stages see their usual ports."""
