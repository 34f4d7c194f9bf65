"""Logos and other overlays that stay while the scene moves."""
