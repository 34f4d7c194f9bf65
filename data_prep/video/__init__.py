"""Decoding, cropping and storing."""
