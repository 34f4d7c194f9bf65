"""From mixed footage to views: finds shots and what is burnt in, stores shots at the training size with a manifest."""
