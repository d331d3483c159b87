"""How the encoders that come with trimseek are trained: their texts, and the command."""
