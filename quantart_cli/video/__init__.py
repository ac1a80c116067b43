"""Moving pictures: clips in and out, painted so that their frames belong together."""
