"""HTTP and nothing else: the app, its gate, its routes, and how errors and events are put into answers.

Not here: what the routes call (`service`), and uvicorn (`launch`).
"""
