"""The archive of requests, scores, decisions and feedback: where it is, what belongs to it, what its columns mean."""
