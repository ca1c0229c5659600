"""Any bytes at all, to the decoder: a target with invariants, a mutator, and a corpus of our own."""
