"""The running service, without HTTP: configuration, keys, jobs, claims, status, and the assembly of its parts.

Not here: routes (`server`), and how a service is started (`launch`).
"""
