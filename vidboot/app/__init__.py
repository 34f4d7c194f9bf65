"""A page in the browser for a trained run: generate, paint out, look at the training."""
