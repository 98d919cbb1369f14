__owner__ = "pomona"
