"""One file a paper. Every method answers to ``encode_style`` once and ``stylize`` many times; see ``api.py``."""
