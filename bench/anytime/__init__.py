"""How good is the best model so far, against wall time from a cold start: ours, the peers, and a frozen probe?"""
