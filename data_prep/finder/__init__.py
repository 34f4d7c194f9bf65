"""The learned finder: which pixels are burnt in, for each short span of a shot."""
