"""Document sources and plan sinks."""
