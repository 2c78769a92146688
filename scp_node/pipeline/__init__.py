"""The stages between a received study and a delivered answer: one file a stage, the verb is the file's name.

``complete`` → ``route`` → ``analyze`` → ``encode`` → ``deliver``, with ``recover`` once at start and ``retain`` now and
then. Each stage asks the store what is due, does one step and writes what came of it; ``clock`` only says when.
"""
