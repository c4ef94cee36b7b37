"""Self-contained HTML pages of monitoring, their charts drawn as inline SVG. Pure."""
