"""Real processes for the tests across components."""
