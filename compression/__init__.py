"""The search for the smallest and fastest encoder that keeps to a stated loss."""
