"""How good a painted picture is: near its content, like its style, and among real paintings. Knows no training."""
