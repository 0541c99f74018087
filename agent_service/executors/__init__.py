"""Where brains live: in a thread of the service, in a process of their own, or on a cluster.

Not here: what a brain is (`brains`), and when it is called (`agents`).
"""
