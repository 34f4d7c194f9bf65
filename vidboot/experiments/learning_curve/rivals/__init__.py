"""Published methods that learn from poor or partial data in another way: rows beside those of `rows`.

Each has a file of its own, with the paper's rule, and what was decided to bring it here.
"""
