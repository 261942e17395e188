"""Who calls: API keys, signed tokens, and the word of trusted proxies."""
