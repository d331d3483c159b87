"""Recommenders: encoders whose tokens are items, and whose texts are histories of them."""
