"""Where documents come from: a RunEngine, whoever posts them, and what a facility publishes them with.

Each is a `DocumentSource` (`protocols`) with a section of service.toml, and a line in the table of
`service.compose_sources`. Not here: what becomes of documents (`documents`).
"""
