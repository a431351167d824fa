"""The commands of `lblab`, one file each; what they have in common is in `common`.

A command's module is imported at every start of `lblab`, so that its options are known: it imports what it works with
inside its function.
"""
