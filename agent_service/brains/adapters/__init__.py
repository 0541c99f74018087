"""From the shapes brains have in the field to the one shape that the loop knows."""
