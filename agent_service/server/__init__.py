"""HTTP only: the app, its gate, its routes, and how errors and events become answers.

Not here: what the routes call (`service`), and uvicorn (`launch`).
"""
