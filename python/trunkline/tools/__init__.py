"""The command-line tools qdstat and qdmanage and the management client that they share.

The scripts in bin/ only find this package and hand over their arguments; `program` holds what both do alike.
"""
