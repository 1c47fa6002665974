"""Real studies, hurt at random moments in every way that a long run is: python -m benchmarks.torture --help"""
