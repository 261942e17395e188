"""Rate limiting: quotas that follow load and threat, load shedding, and the parts that both are made of."""
