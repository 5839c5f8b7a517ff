"""The demo: texts, small real models, an OpenAI-compatible engine and its story."""
