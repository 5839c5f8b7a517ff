"""People log in by an OpenID Connect provider."""
