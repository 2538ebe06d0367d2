"""Session apps to learn from. The Dockerfile beside them makes an image of one."""
