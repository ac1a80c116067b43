"""``quantart ui``: mistakes are one line before anything is loaded."""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets everybody in the network use this page"),
        (["--port", "0"], "--port must be between 1 and 65535"),
        (["--model", "sanet"], "give the method too, as in --model sanet=sanet.safetensors"),
        (["--model", "sanett=x"], "did you mean sanet?"),
    ],
)
def test_mistakes(run, words, message):
    status, out, said = run("ui", "--no-browser", *words)
    assert (status, out) == (2, b"")
    assert message in said
    assert said.count("\n") == 1
