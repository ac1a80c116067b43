"""The page: painting in a browser, on this machine. Needs the extra ``ui`` (Gradio)."""
