"""Training: data, losses and loops. Nothing here knows the command line."""
