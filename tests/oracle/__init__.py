"""A second, naive reading of the rules C1 to C24, to be held against the engine.

Nothing here imports `streams`; the engine is only ever run as a command. Speed does not belong here.
"""
