"""Training of a run: its stages, and the engine that they train on."""
