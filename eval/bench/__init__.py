"""``trimseek bench``: encoders and peers measured side by side, and the report of it."""
