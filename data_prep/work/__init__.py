"""How the work is done: input files, processes, records."""
