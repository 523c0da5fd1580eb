"""A model program for the tests of a replay: serves what its environment says."""

from rendezvous_sdk import serve

from tests.support.replayed import doubled

if __name__ == "__main__":
    serve(doubled)
