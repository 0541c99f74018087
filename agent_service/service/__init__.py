"""The running service, without HTTP: configuration, keys, jobs, claims, status, and how its parts are put together.

Not here: routes (`server`), and how a service is started (`launch`).
"""
