"""Where brains live: in a thread of the service, or in a process of their own.

Not here: what a brain is (`brains`), and when it is called (`agents`).
"""
