"""What outsiders send, made worse: targets that take bytes, and engines that think of bytes.

`python -m tests.fuzz SECONDS` (`make fuzz`) searches with coverage (atheris) and over the wire; the tests of this
package do a short run of the same, without chance.
"""
