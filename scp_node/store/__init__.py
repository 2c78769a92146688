"""Durable truth: files in the spool, rows in the database. Nothing else in the node remembers anything.

Read ``tables`` for what is kept, ``arrivals`` for what an instance does to its study, ``jobs`` and ``deliveries``
for the queues, ``retention`` for what is let go, ``overview`` for what is shown.
"""
