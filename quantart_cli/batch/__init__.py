"""Many pictures in one run: which are painted into which files, what is done already, and doing the rest."""
