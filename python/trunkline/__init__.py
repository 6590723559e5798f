"""The router's management: configuration reader, management agent, and their contract with the C side.

Runs embedded in qdrouterd on the control thread. Standard library only, and as little of that as can be: every import
delays the router's start (docs/decisions/0005-embedded-python.md). Rare operations import what they need when they
need it.
"""
