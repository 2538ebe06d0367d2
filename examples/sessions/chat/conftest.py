"""Makes pytest put this folder on the path, so that tests find the app."""
