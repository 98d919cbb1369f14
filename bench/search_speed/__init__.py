"""How much faster is a search with shared work than what people run today, and does it learn the same?"""
