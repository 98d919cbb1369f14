"""Which few configs, taken from recorded studies, are near the best on most tasks?"""
