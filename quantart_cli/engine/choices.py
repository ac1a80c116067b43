"""Names a person can choose from, for the command line and the API alike. No torch in here."""

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PRESERVE_COLOR = ("none", "luma", "match")

STYLE_SIZE = 1024
"""Long side in pixels above which a style is reduced unless its size is given."""
