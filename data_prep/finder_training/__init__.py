"""Training of the finder of what is burnt in, on composites made on the spot; needs torch, unlike the rest."""
