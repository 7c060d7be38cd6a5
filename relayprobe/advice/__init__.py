"""From evidence to what to do: findings, a verdict for each mode, and the mode to use with its settings."""
