"""The release engine: root's side of a deploy, on each host. Standard library only, Python 3.5 and newer."""

VERSION = 2
"""Of the protocol with the controller; both sides must have the same."""
