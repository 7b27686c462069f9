"""What is made of a session's events: who wrote what last and how often, and what was held when."""
