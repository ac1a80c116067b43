"""Small numpy and Pillow paint box behind ``paint_styles.py``: noise, brushes, and one module per picture."""
