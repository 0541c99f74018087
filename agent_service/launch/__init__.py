"""From a prototype to a service: notebooks and scripts run headless, and exported as a folder for another machine."""
