"""Scores history with a candidate, beside the live system and without touching its answers; see `Replay`."""
